"""Jobs on a Slurm cluster. The controller writes down every job array before `sbatch` sees it, and
what runs on a node needs nothing that comes after: a controller may die at any moment."""
