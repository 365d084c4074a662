"""Models that are wrong in one to three places: what a device may be sent by mistake, or by somebody who means harm.

Most mutants are well-formed files: the change is made to the objects of the schema, and written again. A share has
bytes flipped, cut out or put in, as a bad disk or line would. Pure: bytes in, bytes out; the same seed and number make
the same mutant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from edged.errors import ModelError
from edged.vision.flatbuffer import pack, schema, unpack

BYTES_SHARE = 0.15
"""Of the mutants, so many have bytes changed and not fields."""
_SIZES = (0, 1, -1, -2, 2, 3, 7, 255, 65_536, 2**20, 2**30, 2**31 - 1, -(2**31))
_SCALES = (0.0, -1.0, -0.0, math.nan, math.inf, -math.inf, 1e-45, 1e-38, 3e38, 1e10, 1e-10)
_ZERO_POINTS = (0, 1, -1, 127, 128, -128, 255, 256, 2**31 - 1, -(2**31), 2**40, -(2**63))


@dataclass(frozen=True)
class Mutant:
    """A changed model.

    Attributes:
        number: With the seed, all that it was made of.
        base: Name of the model that was changed.
        change: What was changed, in a few words.
        model: Content of the file.
    """

    number: int
    base: str
    change: str
    model: bytes


class CannotBeWrittenError(Exception):
    """A change that the writer of the schema refuses: no file says so, so nobody can send it."""


def mutant(bases: Mapping[str, bytes], seed: int, number: int) -> Mutant:
    """Return the mutant of a number.

    Args:
        bases: Name → content of a sound .tflite file.
        seed: Of all mutants.
        number: Of this one.

    Raises:
        CannotBeWrittenError: There is none of this number.
    """
    random = Random(f"{seed}/{number}")
    base = random.choice(sorted(bases))
    data = bases[base]
    if random.random() < BYTES_SHARE:
        change, changed = _bytes(data, random)
        return Mutant(number, base, change, changed)
    model = unpack(data)
    changes = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        (name,) = random.choices(list(FIELDS), [_RARE.get(field, 4) for field in FIELDS])
        try:
            changes.append(f"{name}: {FIELDS[name](model, random)}")
        except (IndexError, TypeError, ValueError, AttributeError) as error:  # an earlier change took its object away
            changes.append(f"{name}: nothing ({type(error).__name__})")
    if all(": nothing" in change for change in changes):
        raise CannotBeWrittenError(f"{base}: nothing to change")
    try:
        return Mutant(number, base, "; ".join(changes), pack(model))
    except (ModelError, AssertionError, OverflowError) as error:
        raise CannotBeWrittenError(f"{base}, {'; '.join(changes)}: {error}") from error
    except Exception as error:  # flatbuffers has errors of its own that share no base
        if type(error).__module__.startswith("flatbuffers"):
            raise CannotBeWrittenError(f"{base}, {'; '.join(changes)}: {error}") from error
        raise


def kind(change: str) -> str:
    """Return what sort of change it was, the first where there are several."""
    return change.partition(":")[0]


# -- fields of the schema ----------------------------------------------------------------------------------------------


def _graph(model: Any) -> Any:
    return model.subgraphs[0]


def _replaced(values: Any, place: int, value: int, dtype: type[np.generic] = np.int32) -> Any:
    changed = np.array(values, dtype)
    changed[place] = value
    return changed


def _tensor_index(model: Any, random: Random) -> int:
    count = len(_graph(model).tensors)
    return random.choice((-1, count, count + 1, 9999, 2**31 - 1, -2, -(2**31), *(random.randrange(count),) * 7))


def _operator_tensors(model: Any, random: Random) -> str:
    graph = _graph(model)
    place = random.randrange(len(graph.operators))
    operator = graph.operators[place]
    side = random.choice(("inputs", "outputs"))
    values = [int(one) for one in getattr(operator, side)]
    way = random.choice(("another", "another", "another", "swap", "fewer", "more", "none"))
    if way == "another":
        slot, tensor = random.randrange(len(values)), _tensor_index(model, random)
        values[slot] = tensor
        way = f"{slot} is {tensor}"
    elif way == "swap":
        values = values[::-1]
    elif way == "fewer":
        values = values[:-1]
    elif way == "more":
        values += [_tensor_index(model, random)] * random.choice((1, 20))
    else:
        values = []
    setattr(operator, side, np.array(values, np.int32))
    return f"{side} of operator {place}, {way}"


def _graph_ends(model: Any, random: Random) -> str:
    graph = _graph(model)
    side = random.choice(("inputs", "outputs"))
    values = [int(one) for one in getattr(graph, side)]
    tensor = _tensor_index(model, random)
    way = random.choice(("another", "another", "more", "none"))
    values = {"another": [tensor, *values[1:]], "more": [*values, tensor], "none": []}[way]
    setattr(graph, side, np.array(values, np.int32))
    return f"{side} {values}"


def _some_tensor(model: Any, random: Random) -> tuple[int, Any]:
    tensors = _graph(model).tensors
    place = random.randrange(len(tensors))
    return place, tensors[place]


def _shape(model: Any, random: Random) -> str:
    place, tensor = _some_tensor(model, random)
    name = random.choice(("shape", "shape", "shape", "shapeSignature"))
    shape = [int(one) for one in (tensor.shape if tensor.shape is not None else [])]
    way = random.choice(("size", "size", "double", "rank", "rank", "reversed", "none"))
    if way == "size":
        shape[random.randrange(len(shape))] = random.choice(_SIZES)
    elif way == "double":
        slot = random.randrange(len(shape))
        shape[slot] = shape[slot] * random.choice((2, 4, 16)) + random.choice((0, 1))
    elif way == "rank":
        shape = random.choice((shape[1:], [*shape, 1], [1, *shape], shape * 2, [1] * 9))
    elif way == "reversed":
        shape = shape[::-1]
    else:
        shape = []
    setattr(tensor, name, np.array(shape, np.int32))
    return f"{name} of tensor {place} {shape}"


def _quantization(model: Any, random: Random) -> str:
    quantized = [(at, one) for at, one in enumerate(_graph(model).tensors) if _lengths(one)]
    place, tensor = random.choice(quantized)
    told = tensor.quantization
    way = random.choice(("scale", "scale", "scale", "zero point", "zero point", "dimension", "length", "none"))
    where = f"of tensor {place}"
    if way == "scale":
        scale = random.choice((*_SCALES, float(told.scale[0]) * random.choice((0.5, 2.0, 1e3, 1e-3))))
        told.scale = np.array(told.scale, np.float32)
        told.scale[random.randrange(len(told.scale))] = scale
        return f"scale {where} {scale:g}"
    if way == "zero point":
        value = random.choice(_ZERO_POINTS)
        told.zeroPoint = _replaced(told.zeroPoint, random.randrange(len(told.zeroPoint)), value, np.int64)
        return f"zero point {where} {value}"
    if way == "dimension":
        told.quantizedDimension = random.choice(_SIZES)
        return f"dimension {where} {told.quantizedDimension}"
    if way == "length":
        name = random.choice(("scale", "zeroPoint"))
        values = getattr(told, name)
        times = random.choice((0, 2, 3))
        setattr(told, name, np.concatenate([values] * times) if times else values[:0])
        return f"{len(getattr(told, name))} × {name} {where}"
    tensor.quantization = None
    return f"none {where}"


def _lengths(tensor: Any) -> bool:
    told = tensor.quantization
    return told is not None and told.scale is not None and len(told.scale) and told.zeroPoint is not None


def _operator_code(model: Any, random: Random) -> str:
    way = random.choice(("code", "version", "index"))
    if way == "index":
        place = random.randrange(len(_graph(model).operators))
        count = len(model.operatorCodes)
        index = random.choice((count, 2**31, 2**32 - 1, *range(count)))
        _graph(model).operators[place].opcodeIndex = index
        return f"operator {place} is of code {index}"
    place = random.randrange(len(model.operatorCodes))
    code = model.operatorCodes[place]
    if way == "version":
        code.version = random.choice((0, -1, 2, 3, 5, 99, 2**31 - 1))
        return f"version of code {place} {code.version}"
    known = [value for value in vars(schema().BuiltinOperator).values() if isinstance(value, int)]
    code.builtinCode = random.choice((*known, 127, 9999, -1))
    code.deprecatedBuiltinCode = min(max(code.builtinCode, -128), 127)
    return f"code {place} is {code.builtinCode}"


def _options(model: Any, random: Random) -> str:
    operators = [(at, one) for at, one in enumerate(_graph(model).operators) if one.builtinOptions is not None]
    place, operator = random.choice(operators)
    if random.random() < 0.1:
        operator.builtinOptions, operator.builtinOptionsType = None, random.choice((0, operator.builtinOptionsType))
        return f"none of operator {place}"
    numbers = {key: value for key, value in vars(operator.builtinOptions).items() if isinstance(value, int | float)}
    name = random.choice(sorted(numbers))
    old = numbers[name]
    if isinstance(old, bool):
        value: Any = not old
    elif isinstance(old, float):
        value = random.choice(_SCALES)
    elif name in ("padding", "fusedActivationFunction", "weightsFormat"):
        value = random.choice((0, 1, 2, 3, 4, 5, 6, 99, 127, -1))
    else:
        value = random.choice(_SIZES)
    setattr(operator.builtinOptions, name, value)
    return f"{name} of operator {place} {value}"


def _buffer(model: Any, random: Random) -> str:
    filled = [at for at, one in enumerate(model.buffers) if one.data is not None and len(one.data)]
    way = random.choice(("shorter", "longer", "empty", "values", "index", "index", "swap"))
    if way == "index":
        place, tensor = _some_tensor(model, random)
        count = len(model.buffers)
        tensor.buffer = random.choice((0, count, count + 1, 2**31, 2**32 - 1, *random.choices(filled, k=4)))
        return f"of tensor {place} is {tensor.buffer}"
    place = random.choice(filled)
    buffer = model.buffers[place]
    data = np.array(buffer.data, np.uint8)
    if way == "shorter":
        buffer.data = data[: random.choice((1, len(data) // 2, len(data) - 1))]
    elif way == "longer":
        buffer.data = np.concatenate([data, data[: random.choice((1, len(data)))]])
    elif way == "empty":
        buffer.data = data[:0]
    elif way == "values":
        for _ in range(random.choice((1, 4, 64))):
            data[random.randrange(len(data))] = random.randrange(256)
        buffer.data = data
    else:
        other = random.choice(filled)
        model.buffers[place], model.buffers[other] = model.buffers[other], buffer
        way = f"swapped with {other}"
    return f"{place} {way}"


def _type(model: Any, random: Random) -> str:
    place, tensor = _some_tensor(model, random)
    known = [value for value in vars(schema().TensorType).values() if isinstance(value, int)]
    tensor.type = random.choice((*known, 99, 127, -1))
    return f"of tensor {place} {tensor.type}"


def _subgraphs(model: Any, random: Random) -> str:
    graph = _graph(model)
    way = random.choice(("none", "two", "no operators", "no tensors", "other order", "one less", "one twice"))
    place = random.randrange(len(graph.operators))
    if way == "none":
        model.subgraphs = []
    elif way == "two":
        model.subgraphs = [graph, graph]
    elif way == "no operators":
        graph.operators = []
    elif way == "no tensors":
        graph.tensors = []
    elif way == "other order":
        random.shuffle(graph.operators)
    elif way == "one less":
        del graph.operators[place]
    else:
        graph.operators.insert(place, graph.operators[place])
    return way


def _variable(model: Any, random: Random) -> str:
    place, tensor = _some_tensor(model, random)
    tensor.isVariable = True
    return f"tensor {place}"


FIELDS: dict[str, Callable[[Any, Random], str]] = {
    "operator's tensors": _operator_tensors,
    "graph's ends": _graph_ends,
    "shape": _shape,
    "quantization": _quantization,
    "operator code": _operator_code,
    "options": _options,
    "buffer": _buffer,
    "type": _type,
    "subgraph": _subgraphs,
    "variable": _variable,
}
"""Sort of change → what makes it, and says what it made."""
_RARE = {"graph's ends": 2, "subgraph": 2, "variable": 1}
"""Sorts with few different mutants come less often; the others weigh 4."""


# -- bytes -------------------------------------------------------------------------------------------------------------


def _bytes(data: bytes, random: Random) -> tuple[str, bytes]:
    """Change bytes: anywhere, or in the first and last kilobytes, where most of what is no weight stands."""
    changed = bytearray(data)
    ends = random.random() < 0.5
    near = min(4096, len(data))

    def position() -> int:
        at = random.randrange(near) if ends else random.randrange(len(data))
        return at if not ends or random.random() < 0.5 else len(data) - 1 - at

    way = random.choice(("flipped", "flipped", "cut off", "cut out", "put in", "zeroed"))
    count = random.choice((1, 1, 4, 16, 256))
    if way == "flipped":
        for _ in range(count):
            changed[position()] ^= 1 << random.randrange(8)
    elif way == "cut off":
        count = len(data) - random.randrange(1, len(data))
        del changed[-count:]
    else:
        at = position()
        if way == "put in":
            changed[at:at] = random.randbytes(count)
        elif way == "cut out":
            del changed[at : at + count]
        else:
            changed[at : at + count] = bytes(len(changed[at : at + count]))
    return f"bytes: {count} {way}", bytes(changed)
