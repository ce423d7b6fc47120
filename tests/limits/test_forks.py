"""fork() while other threads use everything that has locks: the child works, and so does the parent."""

import faulthandler
import os
import sys
import threading

import pytest

from realizar import forks
from tests.clocks import wait_until
from tests.limits.models import LLAMA, QWEN2
from tests.limits.scripts import EXPECTED, HEAD, run

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
HANGS_S = 700  # a hanging child exits then; pytest's time limit ends only the parent


@pytest.fixture(autouse=True)
def no_fork_timeout(monkeypatch):
    """A fork waits for locks without a time limit."""
    monkeypatch.setattr(forks, "FORK_TIMEOUT_S", 1e6)


# What the threads do during the fork: they build tokenizers and encode, compile a regex, a grammar and a
# schema, follow them, read the bytes of all tokens, render templates, embed, search.
BUSY = """
import time
from realizar import forks
from realizar.tokenizer import Tokenizer
from realizar.sampling import TokenBytes
from realizar.sampling.grammar import ConstraintFactory

def regex(llm):
    return [c.text for c in llm.generate(PROMPTS[:2], SamplingParams(temperature=0.0, max_tokens=6, regex="[a-z ]*"))]

def fresh_tokenizer(llm):
    tokenizer = Tokenizer.from_gguf(llm.engine.model.file.metadata)
    return tokenizer.encode("Once upon a time"), len(TokenBytes(tokenizer, tokenizer.n_vocab).containing(b"a"))

def fresh_grammar(llm):
    factory = ConstraintFactory(Tokenizer.from_gguf(llm.engine.model.file.metadata))
    return int(factory.json_schema({"type": "object", "properties": {"a": {"type": "string"}}}).mask().sum())

def hidden(llm):
    return llm.embed(PROMPTS).tolist()

def searched(llm):
    return llm.generate("Hello", SamplingParams(temperature=0.0, n_beams=3, max_tokens=4))[0].token_ids

forks.FORK_TIMEOUT_S = 1e6
KINDS = (texts, regex, fresh_tokenizer, fresh_grammar, hidden, searched)

def all_of(llm):
    return [f(llm) for f in KINDS]

llm = LLM(path, n_threads=2, n_ctx=128)
right = all_of(llm)
assert right[0] == expected
stop, wrong = threading.Event(), []

def busy(f, want):
    while not stop.is_set():
        if f(llm) != want:
            wrong.append(f.__name__)

threads = [threading.Thread(target=busy, args=pair) for pair in zip(KINDS, right)]
for thread in threads:
    thread.start()
def forked():
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        os._exit(0 if all_of(llm) == right and texts(LLM(path, n_threads=2)) == expected else 1)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(2)

try:
    for i in range(12):
        time.sleep(0.002 * (i % 7))
        status = forked()
        assert status == 0, (i, status)
finally:
    stop.set()
    for thread in threads:
        thread.join()
assert not wrong, wrong
assert all_of(llm) == right
print("true")
"""


@pytest.mark.parametrize("path", [LLAMA, pytest.param(QWEN2, marks=pytest.mark.slow)], ids=["llama", "qwen2"])
def test_a_child_works_while_other_threads_run(path, tmp_path):
    """A child used to hang on locks that other threads of the parent held at the fork."""
    expected = run(tmp_path, EXPECTED.removeprefix(HEAD), path)
    assert run(tmp_path, BUSY, path, expected)


def in_child(check):
    """Call a function in a forked child; return its exit status, 0 if the result is true."""
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        os._exit(0 if check() else 1)
    return os.waitpid(child, 0)[1]


class Holder:
    """A thread that holds a lock until `release` is set."""

    def __init__(self, lock):
        self.release, held = threading.Event(), threading.Event()

        def hold():
            with lock:
                held.set()
                self.release.wait()

        self.thread = threading.Thread(target=hold, daemon=True)
        self.thread.start()
        held.wait()


def takes(lock):
    with lock:
        return True


def test_a_fork_waits_for_a_lock():
    lock, order = forks.Lock(), []
    holder, me = Holder(lock), threading.get_ident()

    def free():
        wait_until(lambda: me in forks._acquired)  # the fork is in progress
        order.append("free")
        holder.release.set()

    threading.Thread(target=free).start()
    assert in_child(lambda: order == ["free"] and takes(lock) and not lock.is_broken) == 0
    holder.thread.join()
    assert takes(lock)


def test_a_lock_held_too_long_is_new_in_the_child(monkeypatch):
    monkeypatch.setattr(forks, "FORK_TIMEOUT_S", 0.0)
    held, free = forks.Lock(), forks.Lock()
    holder = Holder(held)
    assert in_child(lambda: takes(held) and held.is_broken and takes(free) and not free.is_broken) == 0
    assert not held.is_broken
    holder.release.set()
    holder.thread.join()
    assert takes(held)


def test_the_forking_thread_keeps_its_locks():
    lock = forks.Lock()

    def is_kept():
        found = []
        thread = threading.Thread(target=lambda: found.append(lock._try_acquire(0.0)))
        thread.start()
        thread.join()
        return found == [False]

    with lock:
        assert in_child(is_kept) == 0
        assert is_kept()
    assert takes(lock)


def test_concurrent_forks():
    locks, found = [forks.Lock() for _ in range(5)], []
    threads = [
        threading.Thread(target=lambda: found.append(in_child(lambda: all(map(takes, locks))))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0] * 6


def test_locks_are_not_kept_alive():
    n = len(forks._locks), len(forks._in_child)
    for _ in range(100):
        forks.Lock()
    assert (len(forks._locks), len(forks._in_child)) == n


def test_an_exception_in_a_signal_handler_leaves_no_lock_held():
    """A lock that the main thread never releases blocks all other threads.

    Python handles signals when a function starts and after each call, where it also calls a profiler: the profiler
    raises at each of these points in turn.
    """

    class Thing:
        @forks.cached_property
        def value(self):
            return [1]

    lock, taken, left = vars(Thing)["value"]._lock, [], 0

    def interrupt(frame, event, arg):
        nonlocal left
        left -= event != "c_call"
        if left < 0:
            raise KeyboardInterrupt

    def is_interrupted(n):
        nonlocal left
        left = n
        try:
            sys.setprofile(interrupt)
            assert Thing().value == [1]
        except KeyboardInterrupt:
            return True
        finally:
            sys.setprofile(None)
        return False

    n = 0
    while is_interrupted(n):
        n += 1
        thread = threading.Thread(target=lambda: taken.append(lock._try_acquire(0.0)))
        thread.start()
        thread.join()
        assert taken.pop(), n
        lock._reinitialize()  # acquired by the thread, which has ended
    assert n > 3


def test_a_property_is_computed_once():
    class Thing:
        n = 0

        @forks.cached_property
        def value(self):
            """What it is."""
            self.n += 1
            return [self.n]

    thing = Thing()
    found = []
    threads = [threading.Thread(target=lambda: found.append(thing.value)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[1]] * 8
    assert all(value is thing.value for value in found)
    assert Thing.value.__doc__ == "What it is."
    thing.value = 3
    assert thing.value == 3
