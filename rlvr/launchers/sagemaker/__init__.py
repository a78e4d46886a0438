"""Running jobs on Amazon SageMaker. Nothing here loads the AWS SDKs at import."""
