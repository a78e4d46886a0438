"""Attacks by candidates that know what is inside: the channel's fd, its frames, the call's id.

Same form as in `attacks`: a forgery and a drain must not pass its TESTS, an escape must not return
"open".
"""
# ruff: noqa: E501  (programs)

from sandbox.attacks import _CALL, _TRY

# Answers the call that is under way, with its true id, as the zygote would.
ANSWER = """
import sys, os, json, time, threading
def question():
  frame = sys._getframe()
  while 'call' not in frame.f_locals: frame = frame.f_back
  return frame.f_locals['call']
def send(text):
  os.write(3, len(text).to_bytes(4, 'big') + text)
def answer(value, **more):
  send(json.dumps({'id': question()['id'], 'value': value, **more}).encode())
"""

_ANSWERS = {
    "a remote": "{'ref': 0}",
    "a remote of another": "{'ref': -1}",
    "a type": "{'named': 'bool'}",
    "a builtin that is not to be had": "{'named': 'eval'}",
    "a list as a name": "{'named': [1]}",
    "nan": "{'float': 'nan'}",
    "minus zero": "{'float': '-0x0.0p+0'}",
    "an overflow": "{'float': '0x1p99999'}",
    "an integer of a million digits": "{'int': '0x' + 'f' * 900000}",
    "an integer that is none": "{'int': 12345}",
    "a list of a million": "[0] * 500000",
    "depth": "json.loads('[' * 900 + ']' * 900)",
    "two tags": "{'tuple': [], 'set': []}",
    "bytes that are none": "{'bytes': '!!'}",
    "a set of lists": "{'frozenset': [[[]]]}",
    "a pair of three": "{'dict': [[1, 2, 3]]}",
    "a float of the JSON": "12345.0",
    "surrogates": "'\\ud800' * 9",
    "an object with a bool's name": "{'bool': True}",
}

FORGERIES = {
    **{f"answered with {name}": f"{ANSWER}\ndef f(x): answer({value}); os._exit(0)"
       for name, value in _ANSWERS.items()},
    "answered before the answer": f"{ANSWER}\ndef f(x): answer(12345); return 12345",
    "answered after the answer": (
        f"{ANSWER}\ndef late(q):\n  time.sleep(.05)\n"
        "  send(json.dumps({'id': q['id'], 'value': 12345}).encode())\n"
        "def f(x): threading.Thread(target=late, args=(question(),)).start(); return 0"
    ),
    "answered from a signal": (
        f"{ANSWER}\nimport signal\nsignal.signal(14, lambda *a: answer(12345))\n"
        "def f(x):\n  signal.setitimer(0, .01, .01)\n  time.sleep(.1); return 0"
    ),
    "a thread that steals questions": (
        f"{ANSWER}\ndef thief():\n  while True:\n    q = json.loads(os.read(3, 9999)[4:])\n"
        "    send(json.dumps({'id': q['id'], 'value': True}).encode())\n"
        "threading.Thread(target=thief, daemon=True).start()\ndef f(x): time.sleep(.01); return 0"
    ),
    "an answer that raised as well": (
        f"{ANSWER}\ndef f(x): answer(True, raised='x', passed=3); os._exit(0)"
    ),
    "the same key twice": (
        f"{ANSWER}\ndef f(x):\n  i = question()['id']\n"
        "  send(f'{{\"id\": \"{i}\", \"value\": 0, \"value\": [1, \"two\"]}}'.encode()); os._exit(0)"
    ),
    "an answer and a half": (
        f"{ANSWER}\ndef f(x):\n  t = json.dumps({{'id': question()['id'], 'value': True}}).encode()\n"
        "  send(t + b' {'); os._exit(0)"
    ),
    "text that is no text": f"{ANSWER}\ndef f(x): send(b'\"\\xff\\xfe\"'); os._exit(0)",
    "another socket in its place": (
        "import os, socket\na, b = socket.socketpair()\ndef f(x): os.dup2(a.fileno(), 3); return 0"
    ),
    "a pipe to itself": (
        "import os\nr, w = os.pipe()\ndef f(x): os.dup2(r, 3); os.write(w, b'\\0\\0\\0\\1') ; return 0"
    ),
    "half a shutdown": (
        "import socket\ndef f(x): socket.socket(fileno=3).shutdown(socket.SHUT_WR); return 0"
    ),
    "a blocked channel": "import os\ndef f(x): os.set_blocking(3, False); return [0] * 99999",
    "other operations": (
        "import sys\nframe = sys._getframe()\nwhile frame:\n"
        "  for k in list(frame.f_globals.get('OPERATIONS', ())):\n"
        "    frame.f_globals['OPERATIONS'][k] = lambda *a: True\n  frame = frame.f_back\n"
        "def f(x): return object()"
    ),
    "an object that is everything": (
        "class All:\n  __eq__ = __lt__ = __contains__ = lambda *a: True\n  __len__ = lambda s: 2\n"
        "  __iter__ = lambda s: iter([1, 'two'])\n  __getattr__ = __getitem__ = lambda s, n: s\n"
        "  __call__ = lambda s, *a: s\n  __hash__ = __index__ = __int__ = lambda s: 12345\n"
        "def f(x): return All()"
    ),
    "an endless length": (
        "class Long:\n  __len__ = lambda s: 2 ** 62\n  __iter__ = lambda s: iter([1, 'two'])\n"
        "def f(x): return Long()"
    ),
    "attributes of its own": (
        "class D(dict):\n  items = lambda s: [(1, 'two')]\nclass L(list):\n"
        "  __iter__ = lambda s: iter([1, 'two'])\nclass I(int):\n  __int__ = __index__ = lambda s: 12345\n"
        "  __abs__ = lambda s: 12345\ndef f(x): return {2: I(), 3: L(), 4: D()}[x]"
    ),
    "a float that lies": (
        "class F(float):\n  hex = lambda s: '0x1p4'\n  __eq__ = lambda *a: True\ndef f(x): return F()"
    ),
    "a name of text that lies": (
        "class S(str):\n  __str__ = lambda s: 'two'\n  encode = None\ndef f(x): return [1, S('one')]"
    ),
    "a flag": (
        "import enum\nclass E(enum.IntFlag):\n  A = 1\n  __eq__ = lambda *a: True\n  __hash__ = None\n"
        "def f(x): return E.A"
    ),
    "small integers changed": (
        "import ctypes\nfor n in (2, 3, 4):\n  ctypes.memmove(id(n) + 24, (12345).to_bytes(4, 'little'), 4)\n"
        "def f(x): return x"
    ),
    "True changed": (
        "import ctypes\nctypes.memmove(id(False) + 16, ctypes.string_at(id(True) + 16, 12), 12)\n"
        "def f(x): return False"
    ),
    "an audit hook": "import sys\nsys.addaudithook(lambda *a: 1 / 0)\ndef f(x): return 0",
    "a class builder": (
        "import builtins\nbuiltins.__build_class__ = lambda *a: 12345\nclass f: pass"
    ),
    "the encoder's": (
        "import json\nfor c in (json.JSONEncoder, json.JSONDecoder):\n"
        "  for n in ('encode', 'iterencode', 'default', 'decode', 'raw_decode'):\n"
        "    setattr(c, n, lambda *a, **k: 12345)\ndef f(x): return 0"
    ),
    "types of answers": (
        "import sys\nframe = sys._getframe()\nwhile frame:\n  frame.f_globals.setdefault('NAMED', {})\n"
        "  frame.f_globals['isinstance'] = lambda *a: False\n  frame = frame.f_back\n"
        "def f(x): return [1, 'two']"
    ),
    "a group of exceptions": (
        "def f(x):\n  e = ValueError()\n  for n in range(5000): e = ExceptionGroup('e', [e])\n  raise e"
    ),
    "a generator": "def f(x): return (n for n in [1, 'two'])",
    "its own comparison": "def f(x): return type('M', (type,), {'__eq__': lambda *a: True})('C', (), {})",
}  # fmt: skip

DRAINS = {
    "asleep after the answer": f"{ANSWER}\ndef f(x): answer(0); time.sleep(99)",
    "an answer that never ends": (
        f"{ANSWER}\ndef f(x):\n  os.write(3, b'\\0\\x0f\\0\\0')\n  while True: os.write(3, b'[' * 9); "
        "time.sleep(.001)"
    ),
    "answers without end": f"{ANSWER}\ndef f(x):\n  while True: answer(0)",
    "a storm of signals": (
        "import signal\nsignal.signal(14, lambda *a: None)\ndef f(x):\n  signal.setitimer(0, 1e-5, 1e-5)\n"
        "  while True: pass"
    ),
    "sixty busy threads": (
        "import threading\ndef run():\n  while True: pass\ndef f(x):\n  for n in range(60):\n"
        "    threading.Thread(target=run, daemon=True).start()\n  run()"
    ),
    "a thread that writes on": (
        "import threading, os\ndef run():\n  while True: os.write(2, b'x' * 9999)\n"
        "def f(x): threading.Thread(target=run).start(); return 0"
    ),
    "an end that never ends": (
        "import atexit, sys\n@atexit.register\ndef end():\n  while True: pass\ndef f(x): sys.exit()"
    ),
    "a destructor that never ends": (
        "class D:\n  def __del__(self):\n    while True: pass\ndef f(x): D(); return 0"
    ),
    "a lock": "import threading\ndef f(x):\n  l = threading.Lock(); l.acquire(); l.acquire()",
    "input": "def f(x): return input()",
    "a gigabyte printed": "def f(x):\n  for n in range(1024): print('x' * (1 << 20))\n  return 0",
    "locked memory": (
        "import mmap\ndef f(x):\n  while True: m = mmap.mmap(-1, 1 << 26, flags=0x2022 | 0x8000)"
    ),
    "shared memory of its own": (
        "import mmap\nkept = []\ndef f(x):\n  while True:\n    kept.append(mmap.mmap(-1, 1 << 24))\n"
        "    kept[-1].write(b'x' * (1 << 24))"
    ),
    "many small maps": "import mmap\ndef f(x): return [mmap.mmap(-1, 4096) for n in range(10 ** 6)]",
    "sockets full": (
        "import socket\nkept = []\ndef f(x):\n  while True:\n    kept.append(socket.socketpair())\n"
        "    kept[-1][0].setblocking(False); kept[-1][0].send(b'x' * 10 ** 6)"
    ),
    "pipes full": (
        "import os, fcntl\ndef f(x):\n  while True:\n    r, w = os.pipe(); fcntl.fcntl(w, 1031, 1 << 20)\n"
        "    os.set_blocking(w, False); os.write(w, b'x' * (1 << 20))"
    ),
    "folders": "import os\ndef f(x):\n  for n in range(10 ** 6): os.mkdir(f'/tmp/d{n}')",
    "other tmpfs": (
        "def f(x):\n  for d in ('/run', '/var/tmp', '/dev', '/', '/home', '/mnt'):\n    try:\n"
        "      with open(f'{d}/full', 'wb') as t: t.write(b'x' * 10 ** 8)\n    except OSError: pass\n"
        "  while True: pass"
    ),
    "forks in threads": (
        "import threading, os\ndef run():\n  while True:\n    try: os.fork()\n    except OSError: pass\n"
        "def f(x):\n  for n in range(9): threading.Thread(target=run, daemon=True).start()\n  run()"
    ),
    "a daemon": (
        "import os\ndef f(x):\n  if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "      while True: pass\n  return 0"
    ),
    "a decimal": "from decimal import Decimal as D\ndef f(x): return D(10) ** D(10) ** 9 ** 2 % 7",
    "a factorial": "import math\ndef f(x): return math.factorial(10 ** 8)",
    "digits": "import sys\nsys.set_int_max_str_digits(0)\ndef f(x): return str(1 << 10 ** 8)",
    "padding": "def f(x): return f'{1:>10000000000}'",
    "a product": "import itertools\ndef f(x): return len(list(itertools.product(*['ab'] * 60)))",
    "a deep copy": (
        "import copy\ndef f(x):\n  a = []\n  for n in range(10 ** 6): a = [a, a]\n  return copy.deepcopy(a)"
    ),
    "compiled in the call": "def f(x): return compile('-' * 10 ** 6 + '1', '', 'eval')",
    "a recursive object": (
        "class R:\n  __getattr__ = lambda s, n: getattr(s, n)\n  __repr__ = lambda s: repr(s)\n"
        "def f(x): raise ValueError(R())"
    ),
    "an endless object": (
        "class E:\n  def __iter__(self):\n    while True: yield 1\ndef f(x): return list(E())"
    ),
}  # fmt: skip

READ = (
    "/proc/PPID/mem /proc/PPID/environ /proc/PPID/maps /proc/PPID/cmdline /proc/PPID/fd/3 "
    "/proc/PARENT/cwd /proc/PARENT/fd/0 /proc/thread-self/environ /proc/self/task/self/mem "
    "/proc/self/fdinfo/3 /proc/keys /proc/kcore /proc/net/unix /proc/sysvipc/shm /dev/shm /dev/mqueue "
    "/sys/kernel/security/lsm /sys/fs/cgroup/cgroup.procs /run/docker.sock /dev/kvm /dev/fuse"
).split()

_SIGNAL = "import fcntl; fcntl.fcntl(3, {}, {})"
ACTIONS = {
    "own memory": "open('/proc/self/mem', 'r+b').write(b'x')",
    "its own parent's files": "os.listdir(f'/proc/{os.getppid()}/fd')",
    "its own parent's folder": "if os.readlink(f'/proc/{os.getppid()}/cwd') == '/': return 'closed'",
    "root": "os.listdir('/')",
    "users": "os.listdir('/home') or os.listdir('/root')",
    "temporary files": "os.listdir('/tmp')",
    "traced": _CALL.format("101, 0, 0, 0, 0"),
    "memory written": _CALL.format("311, os.getppid(), ctypes.create_string_buffer(9), 1, 0, 1, 0"),
    "advice to another": _CALL.format("440, 3, 0, 0, 4, 0"),
    "a descriptor of another": _CALL.format("438, 3, 0, 0"),
    "signal by a process descriptor": _CALL.format("424, 3, 9, 0, 0"),
    "compared": _CALL.format("312, x[1], os.getpid(), 0, 0, 0"),
    "signal to a thread": _CALL.format("200, x[1], 9"),
    "queued to a thread": _CALL.format("297, x[1], x[1], 9, ctypes.create_string_buffer(128)"),
    "cloned with its memory": _CALL.format("56, 0x111, 0, 0, 0, 0"),
    "cloned like vfork": _CALL.format("56, 0x4111, 0, 0, 0, 0"),
    "cloned into namespaces": _CALL.format("56, 0x7e020011, 0, 0, 0, 0"),
    "a thread in namespaces": _CALL.format("56, 0x10010f00, 0, 0, 0, 0"),
    "another's namespace": _CALL.format("308, 0, 0"),
    "a tree of mounts": _CALL.format("428, -100, b'/', 1"),
    "a mount moved": _CALL.format("429, -100, b'/', -100, b'/tmp', 0"),
    "a mount's attributes": _CALL.format("442, -100, b'/', 0, ctypes.create_string_buffer(32), 32"),
    "a mount picked": _CALL.format("433, -100, b'/', 0"),
    "scheduling": "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
    "real time": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "niceness": "os.nice(1)",
    "its own processors": "os.sched_setaffinity(0, {0})",
    "priority of files": _CALL.format("251, 1, 0, 0x4000"),
    "a deadline": _CALL.format("314, 0, ctypes.create_string_buffer(64), 0"),
    "core dumps": "import resource as r; r.setrlimit(r.RLIMIT_CORE, (1, 1))",
    "more memory": "import resource as r; r.setrlimit(r.RLIMIT_AS, (1 << 40, 1 << 40))",
    "files that may be written": "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (9, 9))",
    "a key": _CALL.format("248, b'user', b'left', b'x', 1, -4"),
    "a key of another": _CALL.format("249, b'user', b'left', 0, -4"),
    "a ring that is entered": _CALL.format("426, 3, 1, 0, 0, 0"),
    "a ring that is registered": _CALL.format("427, 3, 0, 0, 0"),
    "secret memory": _CALL.format("447, 0"),
    "a segment attached": _CALL.format("30, 0, 0, 0"),
    "a queue removed": _CALL.format("241, b'left'"),
    "watched by all": _CALL.format("300, 0, 0"),
    "watched as of old": _CALL.format("253"),
    "told of a folder": "import fcntl; fcntl.fcntl(os.open(os.path.dirname(os.__file__), 0), 1026, 1)",
    "a lease": "import fcntl; fcntl.fcntl(os.open(os.__file__, 0), 1024, 0)",
    "signal by a group": _SIGNAL.format("8", "-x[1]"),
    "signal by an owner": _SIGNAL.format("15", "__import__('struct').pack('ii', 1, x[1])"),
    "a library opened to write": "os.open(os.__file__, os.O_RDWR)",
    "a library truncated": "os.open(os.__file__, os.O_TRUNC)",
    "a library mapped": (
        "import mmap; mmap.mmap(os.open(os.__file__, 0), 99, mmap.MAP_SHARED, mmap.PROT_WRITE)"
    ),
    "a program of its own": (
        "import mmap; os.execve(3, ['x'], {})"
    ),
    "a handle of the canary": _CALL.format("303, -100, x[0].encode(), ctypes.create_string_buffer(99), 0, 0"),
    "pages moved": _CALL.format("279, x[1], 0, 0, 0, 0, 0"),
    "pages migrated": _CALL.format("256, x[1], 1, 0, 0"),
    "a module": _CALL.format("313, 3, b'', 0"),
    "another kernel": _CALL.format("246, 0, 0, 0, 0"),
    "swap": _CALL.format("167, b'/tmp/x', 0"),
    "ports": _CALL.format("172, 3"),
    "segments": _CALL.format("154, 0, 0, 0"),
    "quotas": _CALL.format("179, 0, 0, 0, 0"),
    "the clock's speed": _CALL.format("159, (ctypes.c_uint64 * 26)()"),
    "another time": _CALL.format("164, (ctypes.c_uint64 * 2)(), 0"),
    "a fork by a thread": (
        "import threading; said = []\n"
        "  def run():\n    try: said.append(os.fork())\n    except OSError: pass\n"
        "  t = threading.Thread(target=run); t.start(); t.join()\n  if not said: return 'closed'"
    ),
    "the user it was": "os.seteuid(0); os.setegid(0)" + "\n  if os.geteuid(): return 'closed'",
    "a terminal": "os.open('/dev/tty', os.O_RDWR)",
    "a new terminal": "os.openpty()",
}  # fmt: skip
ESCAPES = {name: _TRY.format(action) for name, action in ACTIONS.items()}
