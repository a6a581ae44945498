"""Processes that prepare batches in the background, and end when they should.

Each worker has a pipe of its own and answers in the order in which it was asked; batch k comes from
worker k modulo their number. So the order is fixed, nothing is shared, there is no lock that a
killed worker could keep, and a worker whose pipe is closed (because the loader was, or because the
main process is gone) ends by itself.

Why processes: our kernels and most of Python hold the interpreter's lock, so that a thread in the
background would wait for the training, and the training for it. Why spawned: a forked copy of a
process that runs threads (BLAS, Numba) may hang.
"""
from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import traceback
import weakref
from multiprocessing import resource_tracker

from tinyvision.data import pipes

PATIENCE = 5               # seconds for a worker to end before it is killed


class ItemError(ValueError):
    """An item of a data set, or a batch, could not be made; the text says which and why."""


class WorkerTraceback(Exception):
    """Where in a worker it happened: the cause of the error in the main process."""

    def __str__(self):
        return "\n" + self.args[0]


class Workers:
    """`count` processes, in each of which a copy of `job`, a function of one argument, is called.

    Raises:
        ValueError: the job cannot be pickled.
        RuntimeError: a worker ended unexpectedly, or one tried to start workers itself.
    """

    def __init__(self, job, count):
        text = _pickled(job)
        _check_may_start()
        self.turn, self.closed, self.answered = 0, False, False
        self.ends, self.processes = _start(count)
        self._end = weakref.finalize(self, _end, self.ends, self.processes, os.getpid())
        with self._closed_if_interrupted():
            for pipe in self.ends:
                pipe.send_bytes(text)

    def map(self, tasks, ahead):
        """job(task) of every task, in order; each worker is asked for up to `ahead` beforehand.

        Raises:
            ItemError: raised by the job. RuntimeError: a worker ended.
        """
        self.turn += 1
        turn, count, sent = self.turn, len(self.ends), 0
        for k in range(len(tasks)):
            while sent < min(len(tasks), k + ahead * count):
                self._send(sent % count, ((turn, sent), tasks[sent]))
                sent += 1
            yield self._answer(k % count, (turn, k))

    def _send(self, worker, message):
        with self._closed_if_interrupted():
            try:
                self.ends[worker].send(message)
            except OSError:
                raise self._ended(worker) from None

    def _answer(self, worker, tag):
        """The answer to the question `tag`; those to a loop that was left are dropped."""
        answered = None
        while answered != tag:
            with self._closed_if_interrupted():
                try:
                    answered, batch, error = pipes.receive(self.ends[worker])
                except (EOFError, OSError):
                    raise self._ended(worker) from None
        self.answered = True
        if error:
            raise ItemError(error[0]) from WorkerTraceback(error[1])
        return batch

    @contextlib.contextmanager
    def _closed_if_interrupted(self):
        """A message that was cut off leaves a pipe that cannot be used any more."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _ended(self, worker):
        process = self.processes[worker]
        process.join(PATIENCE)
        hint = ("" if self.answered else
                '; if this is a script, what it does must stand under `if __name__ == "__main__":`')
        return RuntimeError(f"DataLoader: worker {worker} ended unexpectedly, "
                            f"with exit code {process.exitcode}{hint}")

    def close(self):
        """End all workers, at once."""
        self.closed = True
        self._end()


# --- in the main process --------------------------------------------------------------------------
def _pickled(job):
    try:
        return pickle.dumps(job)
    except Exception as error:                               # whatever the data set's parts raise
        raise ValueError("DataLoader: with workers, the data set, the transforms and collate_fn "
                         f"are sent to other processes, and cannot be: {error}; define them in a "
                         "file (no lambdas), or use num_workers=0") from error


def _check_may_start():
    """A script without a guard starts its workers again while a worker imports it."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError('DataLoader: this script is being imported by its own worker; put what '
                           'it does under `if __name__ == "__main__":`, or use num_workers=0')


def _start(count):
    """(our ends of the pipes, processes), all starting at the same time."""
    context, ends, processes = multiprocessing.get_context("spawn"), [], []
    with _without_interrupts():
        for k in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True,
                                      name=f"tinyvision data worker {k}")
            process.start()
            theirs.close()                                   # so that its end is noticed here
            ends.append(ours)
            processes.append(process)
    return ends, processes


@contextlib.contextmanager
def _without_interrupts():
    """Ctrl-C reaches all processes of a terminal; those started inside never see it."""
    if not hasattr(signal, "pthread_sigmask"):               # Windows
        yield
        return
    resource_tracker.ensure_running()                        # it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(ends, processes, owner):
    """Ends workers, which have nothing to lose. Not from a forked copy of their owner."""
    if os.getpid() != owner:
        return
    for pipe in ends:
        pipe.close()
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()


# --- in a worker ----------------------------------------------------------------------------------
def _work(pipe):
    """Answers until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        job = _unpickled(pipe.recv_bytes())
        while True:
            tag, task = pipe.recv()
            pipes.send(pipe, *_reply(tag, job, task))


def _unpickled(text):
    """The job, or one that says why there is none."""
    try:
        return pickle.loads(text)
    except Exception as error:
        reason = (f"DataLoader: a worker cannot find what the main process sent: {error}; define "
                  "it in a file instead of a notebook, or use num_workers=0")

    def no_job(task):
        raise ItemError(reason)
    return no_job


def _reply(tag, job, task):
    """(tag, batch, None) or (tag, None, (text, traceback)), ready to be sent."""
    try:
        return pipes.parts((tag, job(task), None))
    except Exception as error:
        text = str(error) if isinstance(error, ItemError) else (
            f"DataLoader: a worker cannot send its batch: {error}")
        return pipes.parts((tag, None, (text, traceback.format_exc())))
