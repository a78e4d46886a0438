"""Programs that attack the verdict, the machine or the host, written for `test_attacks`.

Each defines `f`. A forgery and a drain must not pass TESTS; an escape is called with what it is
to reach and must not return "open".
"""

TESTS = ["assert f(2) == 12345", "assert f(3) == [1, 'two']", "assert f(4) is True"]

_LIARS = {
    base: f"""
class Liar({base}):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __bool__(self): return True
    def __len__(self): return 2
    def __iter__(self): return iter([1, 'two'])
    def __instancecheck__(self, other): return True
    __class__ = bool
def f(x): return Liar()
"""
    for base in ("int", "str", "list", "tuple", "dict", "set", "float", "bytes", "object")
}

_ENDINGS = {
    "sys.exit": "import sys; sys.exit(0)",
    "raise SystemExit": "raise SystemExit",
    "os._exit": "import os; os._exit(0)",
    "os.abort": "import os; os.abort()",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "raise_signal": "import signal; signal.raise_signal(9); signal.pthread_kill(0, 9)",
    "exit in a finally": "\n  try: pass\n  finally: import os; os._exit(0)",
    "success text": "print('OK passed 3/3', flush=True); import os; os._exit(0)",
}
_PLACES = {
    "at import": "{}\ndef f(x): return 0",
    "in the call": "def f(x):\n  {}",
    "at exit": "import atexit\ndef end():\n  {}\natexit.register(end)\ndef f(x): return 0",
    "in a thread": (
        "import threading\ndef run():\n  {}\nthreading.Thread(target=run, daemon=True).start()\n"
        "def f(x): return 0"
    ),
    "in a destructor": "class D:\n def __del__(self):\n  {}\nd = D()\ndel d\ndef f(x): return 0",
}

_CHANNEL = """
import json, os, struct
def frame(message):
    data = json.dumps(message).encode()
    return struct.pack('>I', len(data)) + data
"""
_SPOOFS = {
    "results ahead": (
        "{}\nfor n in range(9): os.write(3, frame({{'id': n, 'value': 12345}}))\ndef f(x): return 0"
    ),
    "a verdict": (
        "{}\nos.write(3, frame({{'total': 3, 'passed': 3, 'returned': True, 'failure': None}}))\n"
        "def f(x): return 0"
    ),
    "ready twice": "{}\nos.write(3, frame({{'ready': True}}) * 5)\ndef f(x): return 0",
    "a frame too long": "{}\ndef f(x): os.write(3, b'\\xff' * 4 + b'x' * 1000)",
    "half a frame": "{}\ndef f(x):\n  os.write(3, b'\\0\\0\\0\\x09x'); os._exit(0)",
    "no JSON": "{}\ndef f(x): os.write(3, b'\\0\\0\\0\\x03x]y')",
    "deep JSON": (
        "{}\ndef f(x): d = b'[' * 500000; os.write(3, struct.pack('>I', len(d))); os.write(3, d)"
    ),
    "unknown tag": "{}\ndef f(x): os.write(3, frame({{'id': 0, 'value': {{'pickle': 'x'}}}}))",
    "list as key": "{}\ndef f(x): os.write(3, frame({{'id': 0, 'value': {{'set': [[1]]}}}}))",
    "closed": "{}\ndef f(x): os.closerange(0, 64)",
    "descriptors": (
        "{}\nimport socket, array\ndef f(x):\n  s = socket.socket(fileno=3)\n"
        "  s.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0] * 50))])"
    ),
    "every descriptor": (
        "{}\nfor n in range(64):\n  try: os.write(n, frame({{'ready': True}}))\n"
        "  except OSError: pass\ndef f(x): return 0"
    ),
    "the question read": "{}\ndef f(x): return os.read(3, 9)",
}

_PATCHES = {
    "json": "import json\njson.dumps = lambda *a, **k: '{\"ready\": true}'",
    "builtins": (
        "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 0\n"
        "builtins.type = lambda *a: bool"
    ),
    "struct": "import struct\nstruct.pack = lambda *a: b''",
    "os.write": "import os\nos.write = lambda fd, data: len(data)",
    "modules": "import sys\nfor name in list(sys.modules): sys.modules[name] = None",
    "import": "import builtins\nbuiltins.__import__ = None",
    "trace": "import sys\nsys.settrace(lambda *a: sys.settrace)\nsys.setprofile(lambda *a: None)",
    "recursion limit": "import sys\nsys.setrecursionlimit(5)",
    "excepthook": "import sys\nsys.excepthook = lambda *a: None\nsys.stdout = sys.stderr = None",
    "assertions": "import builtins\nbuiltins.AssertionError = ValueError",
    "the zygote's frames": (
        "import sys\nframe = sys._getframe()\nwhile frame:\n"
        "  frame.f_globals.update(_described=str, _called=lambda *a: {'value': 12345})\n"
        "  frame = frame.f_back"
    ),
    "objects of the zygote": (
        "import gc\nfor thing in gc.get_objects():\n"
        "  if isinstance(thing, dict) and 'encode' in thing: thing['encode'] = lambda *a: 12345"
    ),
    "a missing function": "import sys\nsys.modules['solution'].f = None",
}

_READERS = {
    "frames": (
        "import sys\ndef f(x):\n  frame = sys._getframe()\n  while frame:\n"
        "    for v in frame.f_locals.values():\n"
        "      if v == 12345 or v == [1, 'two']: return v\n    frame = frame.f_back"
    ),
    "gc": "import gc\ndef f(x): return 12345 in gc.get_objects() and 12345 or [o for o in "
    "gc.get_objects() if type(o) is list and len(o) == 2 and o[0] == 1][0]",
    "mock": "from unittest import mock\ndef f(x): return mock.ANY",
    "constants of callers": (
        "import sys\ndef f(x):\n  frame = sys._getframe()\n  while frame:\n"
        "    if 12345 in frame.f_code.co_consts: return 12345\n    frame = frame.f_back"
    ),
    "reduce": "class P:\n def __reduce__(self): return (eval, ('12345',))\ndef f(x): return P()",
    "exception": (
        "class E(Exception):\n  def __str__(self): raise SystemExit\n  __repr__ = __str__\n"
        "def f(x): raise E"
    ),
    "lying property": (
        "class P:\n  __class__ = property(lambda self: bool)\n"
        "  def __eq__(self, other): return True\ndef f(x): return P()"
    ),
    "int for True": "def f(x): return {2: 12346, 3: (1, 'two'), 4: 1}[x]",
    "nan": "def f(x): return float('nan')",
    "generator": "def f(x): yield 12345",
    "class": "class f:\n  def __new__(cls, x): return cls\n  def __eq__(self, o): return True",
    "not a function": "f = 12345",
    "empty": "pass",
    "comment": "# f returns 12345",
    "one right": "def f(x): return 12345",
}

FORGERIES = {
    **{f"liar {base}": code for base, code in _LIARS.items()},
    **{f"{how} {where}": place.format(what.replace("\n", "\n  "))
       for how, what in _ENDINGS.items() for where, place in _PLACES.items()},
    **{f"channel: {name}": code.format(_CHANNEL) for name, code in _SPOOFS.items()},
    **{f"patched {name}": f"{code}\ndef f(x): return 0" for name, code in _PATCHES.items()},
    **{f"reader: {name}": code for name, code in _READERS.items()},
}  # fmt: skip

# Each runs until a limit ends it, so in one call alone.
DRAINS = {
    "loop": "def f(x):\n  while True: pass",
    "loop at import": "while True: pass\ndef f(x): return 0",
    "loop in C": "def f(x): return sum(iter(int, 1))",
    "power": "def f(x): return 10 ** 10 ** 9",
    "regular expression": "import re\ndef f(x): return re.match('(a+)+$', 'a' * 60 + 'b')",
    "sleep": "import time\ndef f(x): time.sleep(100)",
    "swallowed errors": (
        "def f(x):\n  while True:\n    try:\n      while True: pass\n    except BaseException: pass"
    ),
    "ignored signals": (
        "import signal\nfor n in range(1, 64):\n  try: signal.signal(n, signal.SIG_IGN)\n"
        "  except (OSError, ValueError): pass\ndef f(x):\n  while True: pass"
    ),
    "list": "def f(x):\n  a = [0]\n  while True: a += a",
    "terabyte": "def f(x): return bytearray(1 << 40)",
    "shift": "def f(x): return 1 << 10 ** 11",
    "map of memory": "import mmap\ndef f(x): return len(mmap.mmap(-1, 1 << 34))",
    "string": "def f(x): return 'x' * (1 << 33)",
    "bomb of zeros": (
        "import zlib\ndef f(x):\n  d = zlib.compress(bytes(10 ** 7))\n"
        "  return [zlib.decompress(d) for n in range(999)]"
    ),
    "forks": "import os\ndef f(x):\n  while True: os.fork()",
    "threads": (
        "import threading, time\ndef f(x):\n"
        "  while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    ),
    "small threads": (
        "import _thread, threading, time\nthreading.stack_size(32768)\ndef f(x):\n"
        "  while True:\n    try: _thread.start_new_thread(time.sleep, (9,))\n"
        "    except RuntimeError: pass"
    ),
    "thread left behind": (
        "import threading\ndef run():\n  while True: pass\n"
        "def f(x): threading.Thread(target=run).start(); return 0"
    ),
    "flood": "def f(x):\n  while True: print('x' * 10 ** 6)",
    "flood of errors": "import os\ndef f(x):\n  while True: os.write(2, b'x' * 10 ** 6)",
    "flood of the channel": "import os\ndef f(x):\n  while True: os.write(3, b'\\0' * 10 ** 6)",
    "drip": (
        "import os, time\ndef f(x):\n  os.write(3, b'\\0\\1\\0\\0')\n"
        "  while True: os.write(3, b'x'); time.sleep(0.01)"
    ),
    "disk": (
        "def f(x):\n  with open('/tmp/full', 'wb') as t:\n    while True: t.write(b'x' * 10**6)"
    ),
    "shared memory": "def f(x):\n  with open('/dev/shm/full', 'wb') as t: t.write(b'x' * 10**6)",
    "descriptors": "import os\ndef f(x):\n  while True: os.open('/dev/null', 0)",
    "pipes": "import os\ndef f(x):\n  while True: os.pipe()",
    "recursion": "def f(x): return f(x)",
    "recursion in C": (
        "import sys\nsys.setrecursionlimit(10 ** 9)\n"
        "def f(x):\n  a = []\n  for n in range(10 ** 6): a = [a]\n  return repr(a)"
    ),
    "endless recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x): return f(x)",
    "huge result": "def f(x): return 'x' * (50 << 20)",
    "huge list": "def f(x): return [0] * 10 ** 7",
    "deep result": "def f(x):\n  a = []\n  for n in range(10 ** 5): a = [a]\n  return a",
    "cycle": "def f(x):\n  a = []\n  a.append(a)\n  return a",
    "colliding keys": "def f(x): return {n * (2 ** 61 - 1): 0 for n in range(30000)}",
    "huge integer": "def f(x): return 1 << 10 ** 8",
    "long integer": "def f(x): return 7 ** 9000",
    "huge error": "def f(x): raise ValueError('x' * 10 ** 8)",
    "endless iterator": "import itertools\ndef f(x): return itertools.count()",
    "parentheses": "f = " + "(" * 5000 + ")" * 5000,
    "minus signs": "f = " + "-" * 50_000 + "1",
    "constant folding": "def f(x): return " + "9 ** 9 ** 9 ** 9",
    "nul": "def f(x): return 0\0",
    "surrogate": "def f(x): return '\ud800'",
    "surrogate result": "def f(x): return chr(0xd800)",
    "long source": "def f(x): return 0\n" + "# x\n" * 20_000,
    "warnings": "import warnings\nwarnings.simplefilter('error')\ndef f(x): return 'x' is x",
    "stopped": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP)",
    "alarm": "import signal, time\ndef f(x): signal.setitimer(0, 0.1); time.sleep(9)",
}  # fmt: skip

READER = "def f(x):\n  open(x, 'rb').read(1)\n  return 'open'"
READ = (
    "CANARY /proc/self/environ /proc/PARENT/environ /proc/PARENT/mem /proc/PARENT/maps "
    "/proc/PARENT/cmdline /proc/1/environ /proc/self/mem /proc/self/root/etc/passwd /etc/passwd "
    "/etc/shadow /etc/hosts /root/.bashrc /root/.netrc /root/.aws/credentials "
    "/root/.cache/huggingface/token /var/run/docker.sock /dev/mem /dev/kmsg /dev/nvidia0 "
    "/opt/ml/input/config/hyperparameters.json /sys/kernel/uevent_seqnum "
    "/proc/sys/kernel/hostname THIS_TEST SITE_PACKAGES"
).split()

_TRY = (
    "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\ndef f(x):\n  {}\n  return 'open'"
)
_CALL = "if libc.syscall({}) < 0: return 'closed'"
# with x: the canary's path, the parent's process, a port that listens, a socket's path
ACTIONS = {
    "overwrite": "open(x[0], 'w')",
    "append": "open(x[0], 'a')",
    "update": "open(x[0], 'r+')",
    "truncate": "os.truncate(x[0], 0)",
    "remove": "os.remove(x[0])",
    "rename": "os.rename(x[0], x[0] + '2')",
    "move over": "os.replace(os.__file__, x[0])",
    "mode": "os.chmod(x[0], 0o777)",
    "owner": "os.chown(x[0], 1, 1)",
    "time": "os.utime(x[0], (1, 1))",
    "attribute": "os.setxattr(x[0], 'user.a', b'b')",
    "symbolic link": "os.symlink(x[0], x[0] + '2')",
    "hard link": "os.link(x[0], x[0] + '2')",
    "new file": "open(x[0] + '2', 'w')",
    "new folder": "os.mkdir(x[0] + '2')",
    "fifo": "os.mkfifo(x[0] + '2')",
    "nameless file": "os.open(os.path.dirname(x[0]), os.O_TMPFILE | os.O_RDWR)",
    "in /tmp": "open('/tmp/left-behind', 'w')",
    "in /dev/shm": "open('/dev/shm/left-behind', 'w')",
    "planted module": "open(os.path.join(os.path.dirname(os.__file__), 'planted.py'), 'w')",
    "home": "open(os.path.expanduser('~/left-behind'), 'w')",
    "working folder": "open('left-behind', 'w')",
    "tcp": "import socket; socket.create_connection(('127.0.0.1', x[2]), 1)",
    "metadata service": "import socket; socket.create_connection(('169.254.169.254', 80), 0.2)",
    "listen": "import socket; socket.create_server(('127.0.0.1', 0))",
    "udp": "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', x[2]))",
    "ipv6": "import socket; socket.socket(socket.AF_INET6, 1)",
    "raw": "import socket; socket.socket(2, 3, 1)",
    "netlink": "import socket; socket.socket(16, 3, 0)",
    "unix socket": "import socket; socket.socket(1, 1).connect(x[3])",
    "abstract socket": "import socket; socket.socket(1, 1).connect('\\0' + x[3])",
    "vsock": "import socket; socket.socket(40, 1)",
    "web": "import urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{x[2]}', timeout=1)",
    "kill the parent": "os.kill(x[1], 9)",
    "probe the parent": "os.kill(x[1], 0)",
    "stop the parent": "os.kill(x[1], 19)",
    "kill its own parent": "os.kill(os.getppid(), 9)",
    "kill all": "os.kill(-1, 9)",
    "kill the group": "os.killpg(0, 9)",
    "thread of the parent": _CALL.format("234, x[1], x[1], 9"),
    "queued signal": _CALL.format("129, x[1], 9, ctypes.create_string_buffer(128)"),
    "pidfd": "os.pidfd_open(x[1])",
    "trace": _CALL.format("101, 16, x[1], 0, 0"),
    "trace its own parent": _CALL.format("101, 16, os.getppid(), 0, 0"),
    "memory of the parent": _CALL.format("310, x[1], ctypes.create_string_buffer(16), 1, 0, 1, 0"),
    "signal by a descriptor": "import fcntl; fcntl.fcntl(3, fcntl.F_SETOWN, x[1])",
    "other signal": "import fcntl; fcntl.fcntl(3, fcntl.F_SETSIG, 9)",
    "owner by ioctl": "import fcntl, struct; fcntl.ioctl(3, 0x8901, struct.pack('i', x[1]))",
    "typed input": "import fcntl; fcntl.ioctl(0, 0x5412, b'x')",
    "priority": "os.setpriority(0, x[1], 19)",
    "processors": "os.sched_setaffinity(x[1], {0})",
    "limits": "import resource as r; r.setrlimit(r.RLIMIT_CORE, (0, 0))",
    "limits of the parent": "import resource as r; r.prlimit(x[1], r.RLIMIT_NOFILE, (3, 3))",
    "session": "os.setsid()",
    "group": "os.setpgid(0, 0)",
    "fork": "os.fork()",
    "vfork": "if libc.vfork() < 0: return 'closed'",
    "raw fork": _CALL.format("57"),
    "raw clone": _CALL.format("56, 17, 0, 0, 0, 0"),
    "clone3": _CALL.format("435, (ctypes.c_uint64 * 11)(), 88"),
    "x32": _CALL.format("0x40000000 + 39"),
    "exec": "os.execv('/bin/sh', ['sh', '-c', 'exit'])",
    "exec by descriptor": _CALL.format("322, 3, b'', 0, 0, 0x1000"),
    "spawn": "os.posix_spawn('/bin/sh', ['sh'], {})",
    "system": "if os.system('true'): return 'closed'",
    "popen": "import subprocess; subprocess.run(['true'])",
    "multiprocessing": (
        "import multiprocessing as m; p = m.get_context('fork').Process(target=int); p.start()"
    ),
    "pseudo terminal": "import pty; pty.fork()",
    "root": "os.setuid(0)" + "\n  if os.geteuid(): return 'closed'",
    "other user": "os.setresuid(1, 1, 1)",
    "other group": "os.setgroups([0])",
    "capability": _CALL.format("126, (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()"),
    "user namespace": _CALL.format("272, 0x10000000"),
    "network namespace": _CALL.format("272, 0x40000000"),
    "mount": _CALL.format("165, b'none', b'/tmp', b'tmpfs', 0, 0"),
    "new mount": _CALL.format("430, b'tmpfs', 0"),
    "unmount": _CALL.format("166, b'/proc', 2"),
    "change root": "os.chroot('/tmp')",
    "pivot root": _CALL.format("155, b'.', b'.'"),
    "keyring": _CALL.format("250, 0, -3, 1"),
    "bpf": _CALL.format("321, 0, (ctypes.c_uint64 * 16)(), 128"),
    "performance": _CALL.format("298, (ctypes.c_uint64 * 16)(), 0, -1, -1, 0"),
    "ring": _CALL.format("425, 4, (ctypes.c_uint64 * 16)()"),
    "page faults": _CALL.format("323, 0"),
    "memory file": "os.memfd_create('x')",
    "shared memory segment": _CALL.format("29, 0, 4096, 0o1600"),
    "semaphore": _CALL.format("64, 0, 1, 0o1600"),
    "message queue": _CALL.format("68, 0, 0o1600"),
    "posix queue": _CALL.format("240, b'left', 0o102, 0o600, 0"),
    "posix shared memory": (
        "from multiprocessing.shared_memory import SharedMemory; SharedMemory(None, True, 99)"
    ),
    "handle": _CALL.format("304, -100, ctypes.create_string_buffer(64), 0"),
    "seccomp off": _CALL.format("157, 22, 0, 0, 0, 0"),
    "dumpable": _CALL.format("157, 4, 1, 0, 0, 0"),
    "death signal": _CALL.format("157, 1, 0, 0, 0, 0"),
    "personality": _CALL.format("135, 0x40000"),
    "clock": "import time; time.clock_settime(0, time.time())",
    "host name": "import socket; socket.sethostname('x')",
    "reboot": _CALL.format("169, 0xfee1dead, 672274793, 0x1234567, 0"),
    "kernel log": _CALL.format("103, 3, ctypes.create_string_buffer(99), 99"),
    "watch": _CALL.format("294, 0"),
    "folder of the canary": "os.listdir(os.path.dirname(x[0]))",
    "processes": "os.listdir('/proc')",
    "secret": "if 'RLVR_SECRET' not in os.environ: return 'closed'",
    "secret in C": "if not libc.getenv(b'RLVR_SECRET'): return 'closed'",
    "descriptor 4": "os.fstat(4)",
    "rlvr": "import rlvr.verify",
    "packages": "import numpy",
}  # fmt: skip
ESCAPES = {name: _TRY.format(action) for name, action in ACTIONS.items()}
