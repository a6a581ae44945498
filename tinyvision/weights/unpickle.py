"""Reading a stranger's pickle without running it.

A pickle is a program for a machine with a stack and a memo. Most of its instructions build data;
two of them, GLOBAL and REDUCE, fetch any function that Python can import and call it, and that is
how opening a file can start a stranger's program. The machine here is our own. It imports nothing,
calls only the functions that it is handed, and has no other instructions than those with which
PyTorch writes weights (`INSTRUCTIONS`).
"""
from __future__ import annotations

import pickletools
from collections import OrderedDict

MARK = object()
KEYS = (str, int, float, bool, type(None))           # of dicts


class Refused(ValueError):
    """The pickle asks for something that is not data; the text is what."""


class Name(str):
    """The full name of a class or function that the pickle mentions and nothing calls."""


def unpickle(data: bytes, functions: dict, persistent):
    """The object that a pickle describes, built of dicts, lists, tuples, numbers and strings.

    Args:
        functions: by full name ("torch._utils._rebuild_tensor_v2"), what may be called. A name with
            None in a function's place may be mentioned only, and becomes a `Name`.
        persistent: called with what the pickle calls a persistent id (for PyTorch, a storage).

    Raises:
        Refused: it names something else, or has an instruction that is not in the list.
        ValueError: it is damaged.
    """
    machine = Machine(functions, persistent)
    try:
        for instruction, argument, _ in pickletools.genops(data):
            if instruction.name == "STOP":
                return machine.stack.pop()
            machine.step(instruction.name, argument)
    except Refused:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__}: {error})") from error
    raise ValueError("its pickle is damaged: it ends without STOP")


class Machine:
    """The stack, the memo, and what the instructions do to them."""

    def __init__(self, functions, persistent):
        self.stack, self.memo = [], {}
        self.functions, self.persistent = functions, persistent

    def step(self, name, argument) -> None:
        """Follow one instruction."""
        if name in VALUES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name]())
        elif name in INSTRUCTIONS:
            INSTRUCTIONS[name](self, argument)
        else:
            raise Refused(f"the instruction {name}, with which no weights are written")

    def pop_mark(self) -> list:
        """What was put on the stack since the last MARK, and the MARK, taken off."""
        values = []
        while (value := self.stack.pop()) is not MARK:
            values.append(value)
        return values[::-1]

    def top(self, kind):
        """The container on top of the stack."""
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"a {type(self.stack[-1]).__name__} in the place of a {kind.__name__}")
        return self.stack[-1]

    def pop_tuple(self, n) -> None:
        """n values become one tuple."""
        if len(self.stack) < n:
            raise IndexError("the stack is empty")
        values = tuple(self.stack[len(self.stack) - n:])
        del self.stack[len(self.stack) - n:]
        self.stack.append(values)

    def find(self, name) -> None:
        """GLOBAL: the function of that name, if it is one of ours."""
        if name not in self.functions:
            raise Refused(name)
        self.stack.append(self.functions[name] or Name(name))

    def find_by_stack(self, _) -> None:
        """STACK_GLOBAL: the same, the module and the name being on the stack."""
        self.pop_tuple(2)
        self.find(".".join(self.stack.pop()))

    def reduce(self, _) -> None:
        """REDUCE: call a function that `find` found."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not callable(function):
            what = function if isinstance(function, Name) else f"a {type(function).__name__}"
            raise Refused(f"a call of {what}")
        if not isinstance(arguments, tuple):
            raise TypeError("the arguments of a call are no tuple")
        self.stack.append(function(*arguments))

    def build(self, _) -> None:
        """BUILD would set attributes; what PyTorch sets, versions of layers, is not weights."""
        self.stack.pop()
        self.top(OrderedDict)

    def put(self, k) -> None:
        """Remember what is on top of the stack, under number k."""
        self.memo[k] = self.stack[-1]

    def get(self, k) -> None:
        """Put it on the stack again."""
        self.stack.append(self.memo[k])

    def set_items(self, pairs) -> None:
        """Keys and values, by turns, into the dict below them."""
        into = self.top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, KEYS):
                raise Refused(f"a {type(key).__name__} as the key of a dict")
            into[key] = value

    def set_item(self, _) -> None:
        """SETITEM: one pair."""
        pair = [self.stack.pop(), self.stack.pop()]
        self.set_items(pair[::-1])


VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
          "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES"}
CONSTANTS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "NONE": lambda: None,
             "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "MARK": lambda: MARK}
INSTRUCTIONS = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "POP": lambda m, _: m.stack.pop(),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_mark())),
    "TUPLE1": lambda m, _: m.pop_tuple(1),
    "TUPLE2": lambda m, _: m.pop_tuple(2),
    "TUPLE3": lambda m, _: m.pop_tuple(3),
    "BINPUT": Machine.put,
    "LONG_BINPUT": Machine.put,
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "BINGET": Machine.get,
    "LONG_BINGET": Machine.get,
    "APPEND": lambda m, _: (lambda value: m.top(list).append(value))(m.stack.pop()),
    "APPENDS": lambda m, _: (lambda values: m.top(list).extend(values))(m.pop_mark()),
    "SETITEM": Machine.set_item,
    "SETITEMS": lambda m, _: m.set_items(m.pop_mark()),
    "GLOBAL": lambda m, argument: m.find(argument.replace(" ", ".", 1)),
    "STACK_GLOBAL": Machine.find_by_stack,
    "BINPERSID": lambda m, _: m.stack.append(m.persistent(m.stack.pop())),
    "REDUCE": Machine.reduce,
    "BUILD": Machine.build,
}
