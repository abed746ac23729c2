"""What a compiled program does, read from its HLO text: kernels, bytes that they move, collectives.

Followed are the entry and all that it calls, a loop as often as it turns. A kernel moves its
operands and its results whole, even where it gathers a few numbers from an operand; but of an array
that is updated in place the part that is written.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

# These launch nothing, or only wait for what has been launched.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "domain"}
_FREE |= {"add-dependency", "opt-barrier", "partition-id", "replica-id"}
_COLLECTIVES = {"all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter"}
_COLLECTIVES |= {"collective-broadcast", "ragged-all-to-all"}
_HEADER = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_NAMED = re.compile(r"^  (?:ROOT )?%?([\w.-]+) = ")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\]")
_SCATTERS = re.compile(r"\bcalls=%?all-reduce-scatter")  # how the compiler for TPUs writes it
_TURNS = re.compile(r'known_trip_count"?:\{"n":"(\d+)"')
_CALLED = re.compile(
    r"\b(?:to_apply|calls|body|true_computation|false_computation|branch_computations)="
    r"(\{[^}]*\}|%?[\w.-]+)"
)


@dataclass(frozen=True)
class Instruction:
    name: str
    type: str
    op: str
    operands: tuple[str, ...]  # their types
    attributes: str
    text: str = ""  # in the parentheses
    updated: tuple[tuple[str, str], ...] = ()  # types of arrays updated in place, and of the parts

    @property
    def moved(self) -> int:
        """Bytes read and written by it as one kernel."""
        if self.op.endswith("-start"):  # its result also holds the operand, and a handle
            return 2 * sum(map(nbytes, self.operands))
        whole = nbytes(self.type) + sum(map(nbytes, self.operands))
        return whole - sum(2 * nbytes(array) - nbytes(part) for array, part in self.updated)

    @property
    def collective(self) -> str:
        """Which collective it is or starts; none is ''."""
        op = self.op.removesuffix("-start")
        return op if op in _COLLECTIVES else ""

    @property
    def called(self) -> list[str]:
        """The computations that it runs; what is inside a fusion or a reduction is one kernel."""
        if self.op not in ("while", "call", "conditional", "async-start"):
            return []
        named = " ".join(_CALLED.findall(self.attributes))
        return re.findall(r"[\w.-]+", named)


@dataclass(frozen=True)
class Transfer:
    """A collective of a device: the larger side of it, which is what goes in or what comes out."""

    kind: str
    array: str  # the largest of the arrays
    nbytes: int
    times: int
    looped: bool


Times = list[tuple[int, Instruction]]


def nbytes(type: str) -> int:
    """The size of an array, or of all arrays of a tuple."""
    return sum(
        math.ceil(_bits(element) * math.prod(map(int, filter(None, sizes.split(",")))) / 8)
        for element, sizes in _ARRAY.findall(type)
    )


def _bits(element: str) -> int:
    """bf16 and f8e4m3 say their width; tokens have none."""
    width = re.search(r"\d+", element)
    return int(width[0]) if width else 8 * (element == "pred")


def sizes(type: str) -> tuple[int, ...]:
    """Those of an array; of a tuple, those of the first."""
    return tuple(map(int, filter(None, _ARRAY.findall(type)[0][1].split(","))))


def kernels(text: str) -> Times:
    """Every kernel of the program, and how often it runs."""
    return [(n, i) for n, i in ran(text) if not i.collective]


def traffic(text: str) -> int:
    """Bytes that the kernels read and write."""
    return sum(n * i.moved for n, i in kernels(text))


def collectives(text: str) -> dict[str, int]:
    """Bytes that a device puts into collectives, by their kind."""
    sent: dict[str, int] = defaultdict(int)
    for n, i in ran(text):
        if i.collective:
            sent[i.collective] += n * sum(map(nbytes, i.operands))
    return dict(sent)


def transfers(text: str) -> list[Transfer]:
    """The collectives, the largest first; equal ones are one that runs as often as all of them."""
    times: dict[tuple[str, str, int, bool], int] = defaultdict(int)
    for n, i in ran(text):
        if i.collective:
            times[(i.collective, *_larger_side(i), n > 1)] += n
    found = [Transfer(*what[:3], n, what[3]) for what, n in times.items()]
    return sorted(found, key=lambda transfer: -transfer.nbytes)


def _larger_side(i: Instruction) -> tuple[str, int]:
    """The largest array, and the bytes of all that goes in or of all that comes out."""
    arrays = [f"{e}[{n}]" for e, n in _ARRAY.findall(" ".join((i.type, *i.operands)))]
    given = sum(map(nbytes, i.operands))
    # The result of one that is awaited later also holds the operands, except that of an all-reduce.
    result = nbytes(i.type) - (given if i.op.endswith("-start") else 0)
    return max(arrays, key=nbytes, default=""), max(given, result)


def ran(text: str) -> Times:
    """Every kernel and every collective, and how often it runs."""
    entry, bodies = computations(text)
    return _walk(entry, bodies, 1)


def _walk(name: str, bodies: dict[str, list[Instruction]], times: int) -> Times:
    found: Times = []
    for i in bodies[name]:
        called = [_walk(inner, bodies, times * _turns(i, bodies)) for inner in i.called]
        if i.op == "conditional":  # one branch is taken: the one that moves the most
            called = [max(called, key=lambda ran: sum(n * k.moved for n, k in ran))]
        if called:
            found += [pair for ran in called for pair in ran]
        elif i.op not in _FREE and not i.op.endswith(("-done", "-update")) and not _allocates(i):
            found.append((times, _in_place(i, bodies)))
    return found


def _allocates(i: Instruction) -> bool:
    """Whether it gives memory without writing it."""
    return i.op == "custom-call" and "AllocateBuffer" in i.attributes


def _turns(i: Instruction, bodies: dict[str, list[Instruction]]) -> int:
    if i.op != "while":
        return 1
    known = _TURNS.search(i.attributes)
    if known:
        return int(known[1])
    condition = re.search(r"condition=%?([\w.-]+)", i.attributes)
    bounds = [c for c in bodies.get(condition[1] if condition else "", ()) if c.op == "constant"]
    counts = [re.match(r"\((\d+)\)", c.text) for c in bounds]
    if len(counts) != 1 or not counts[0]:
        raise ValueError(f"nothing says how often the loop {i.name} turns")
    return int(counts[0][1])  # from 0, in steps of one


def _in_place(i: Instruction, bodies: dict[str, list[Instruction]]) -> Instruction:
    """The instruction, with the arrays that it updates and does not move."""
    if i.op == "dynamic-update-slice":
        return replace(i, updated=((i.type, i.operands[1]),))
    called = re.search(r"\bcalls=%?([\w.-]+)", i.attributes)
    if i.op != "fusion" or not called:
        return i
    inner = [j for j in bodies.get(called[1], ()) if j.op == "dynamic-update-slice"]
    given = list(i.operands)
    updated = []
    for j in inner:  # whose array comes in and goes out as it is
        array = _bare(j.type)
        whole = [t for t in given if _bare(t) == array]
        if whole and array in _bare(i.type):
            given.remove(whole[0])
            updated.append((array, j.operands[1]))
    return replace(i, updated=tuple(updated))


def _bare(type: str) -> str:
    """Without layouts."""
    return re.sub(r"\{[^}]*\}", "", type)


def computations(text: str) -> tuple[str, dict[str, list[Instruction]]]:
    """The name of the entry, and the instructions of every computation."""
    entry, bodies, types = "", {}, {}
    here: list[Instruction] = []
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            here, types = bodies.setdefault(header[2], []), {}
            entry = header[2] if header[1] else entry
        elif named := _NAMED.match(line):
            here.append(_instruction(named[1], line[named.end() :], types))
            types[named[1]] = here[-1].type
    return entry, bodies


def _instruction(name: str, text: str, types: dict[str, str]) -> Instruction:
    """`TYPE op(operands), attributes`, where layouts and tuples bring parentheses of their own."""
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    op, start = text[end:].split("(", 1)[0].strip(), text.index("(", end)
    stop = _closing(text, start)
    operands = re.findall(r"%([\w.-]+)", text[start:stop])
    known = tuple(types.get(o, "") for o in operands)
    if op == "fusion" and _SCATTERS.search(text):
        op = "reduce-scatter"
    return Instruction(name, text[:end], op, known, text[stop:], text[start:stop])


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` has been closed."""
    depth = 0
    for place in _parentheses(text, start):
        depth += 1 if text[place] == "(" else -1
        if depth == 0:
            return place + 1
    raise ValueError(f"a parenthesis stays open in {text!r}")


def _parentheses(text: str, start: int) -> Iterator[int]:
    return (m.start() for m in re.compile(r"[()]").finditer(text, start))
