"""What a training step costs, read off its graph: nothing runs, shapes are enough.

TensorFlow's graph of `train_step` holds every operation of the forward pass, of the
backward pass and of the optimizer with its static shapes. Products and convolutions are
counted as 2 operations for each multiplication; every other operation as 1 for each
number it puts out. Bytes are what an operation reads and writes.
"""

import dataclasses

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import tensor_util

# They move or rename numbers, or none at all: a compiler makes them disappear.
_FREE = {
    *("Const", "Identity", "IdentityN", "NoOp", "Placeholder", "ReadVariableOp"),
    *("Reshape", "Squeeze", "ExpandDims", "StopGradient", "Shape", "ShapeN"),
    *("BroadcastGradientArgs", "StaticRegexFullMatch", "PreventGradient"),
}
_SAME_MEMORY = ("Reshape", "Squeeze", "ExpandDims", "Identity", "StopGradient")
_LOOPS = ("While", "StatelessWhile")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_BACKWARD = ("gradients/", "gradient_tape/")  # tf.gradients, and a GradientTape.


@dataclasses.dataclass(frozen=True)
class Operation:
    """One kind of work in a step.

    Attributes:
      kind: str, TensorFlow's name of it, such as "Conv2D".
      backward: bool, whether it belongs to the gradient.
      matrix: bool, whether a matrix unit does it.
      flops: int, operations.
      bytes: int, read and written.
      times: int, how often a step does it (the trips of a loop).
    """

    kind: str
    backward: bool
    matrix: bool
    flops: int
    bytes: int
    times: int


@dataclasses.dataclass(frozen=True)
class Costs:
    """A training step on one replica.

    Attributes:
      parameters: int.
      operations: list of `Operation`.
      activation_bytes: int, what the forward pass leaves for the backward pass.
      update_bytes: int, optimizer and average of weights: read and written.
      state_bytes: int, weights, their gradients, the optimizer's moments, the average.
    """

    parameters: int
    operations: list
    activation_bytes: int
    update_bytes: int
    state_bytes: int

    def flops(self, matrix=None):
        """Operations of a step; of matrix units alone, or of all else."""
        return sum(o.flops * o.times for o in self._of(matrix))

    def bytes(self, matrix=None):
        """Bytes read and written, without the optimizer."""
        return sum(o.bytes * o.times for o in self._of(matrix))

    def seconds(self, flops_per_second, bytes_per_second, fused=True):
        """A lower bound: each operation at the peak rate that bounds it.

        Args:
          flops_per_second: float, of the matrix unit.
          bytes_per_second: float, of the memory.
          fused: bool, take all but products and convolutions to be fused into these
            and to cost nothing; else to go through memory one by one.
        """
        total = self.update_bytes / bytes_per_second
        for o in self.operations:
            if o.matrix:
                slowest = max(o.flops / flops_per_second, o.bytes / bytes_per_second)
                total += o.times * slowest
            elif not fused:
                total += o.times * o.bytes / bytes_per_second
        return total

    def _of(self, matrix):
        return [o for o in self.operations if matrix in (None, o.matrix)]


def of_step(model, batch, has_average=True):
    """The `Costs` of `model.train_step` on a batch.

    Args:
      model: compiled `DeltaVAE`, built.
      batch: dict of `tf.TensorSpec`, one replica's.
      has_average: bool, whether an average of weights is kept beside the model.
    """
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step, autograph=False)
    graph = step.get_concrete_function(batch).graph
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    moments = sum(int(np.prod(v.shape)) for v in model.optimizer.variables)
    average = parameters if has_average else 0
    # Read: weights, gradients, moments, average. Written: all of these but gradients.
    update = 4 * (3 * parameters + 2 * moments + 2 * average)
    return Costs(
        parameters,
        list(_operations(graph)),
        _activation_bytes(graph),
        update,
        4 * (2 * parameters + moments + average),
    )


def _needed(graph):
    """The operations that an output or an effect of a graph needs, in their order.

    A gradient's graph has more: a convolution's is made for both of its inputs, also
    where one is the data.
    """
    needed = set()
    left = [*(t.op for t in graph.outputs), *graph.control_outputs]
    while left:
        op = left.pop()
        if op not in needed:
            needed.add(op)
            left += [*(t.op for t in op.inputs), *op.control_inputs]
    return [op for op in graph.get_operations() if op in needed]


def _operations(graph, times=1, backward=False):
    for op in _needed(graph):
        back = backward or op.name.startswith(_BACKWARD)
        if op.type in _LOOPS:
            body = _function(op, "body")
            yield from _operations(body, times * _trips(op), back)
        elif op.type in _CALLS:
            yield from _operations(_function(op, "f"), times, back)
        elif op.type not in _FREE and not op.type.startswith("TensorList"):
            flops = _matrix_flops(op)
            outputs = sum(_size(t) for t in op.outputs)
            moved = sum(map(_bytes, (*op.inputs, *op.outputs)))
            if moved:
                matrix = flops is not None
                flops = flops if matrix else outputs
                yield Operation(op.type, back, matrix, flops, moved, times)


def _function(op, attribute):
    name = op.get_attr(attribute).name
    return op.graph._get_function(name).graph


def _trips(op):
    """How often a loop runs: Keras states the most it may, and it does."""
    limit = op.inputs[1]
    if limit.op.type == "Max":  # Of a scalar: Keras's recurrent layers take one.
        limit = limit.op.inputs[0]
    count = tensor_util.constant_value(limit)
    if count is None or np.ndim(count):
        raise ValueError(f"The loop {op.name} does not say how often it runs")
    return int(count)


def _matrix_flops(op):
    """Operations of a product or a convolution; None for any other operation."""
    if op.type == "Conv2D":
        return 2 * _size(op.outputs[0]) * _size(op.inputs[1]) // _last(op.inputs[1])
    if op.type == "Conv2DBackpropInput":
        return 2 * _size(op.inputs[2]) * _size(op.inputs[1]) // _last(op.inputs[1])
    if op.type == "Conv2DBackpropFilter":
        return 2 * _size(op.inputs[2]) * _size(op.outputs[0]) // _last(op.outputs[0])
    if op.type == "MatMul":
        inner = op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1]
        return 2 * _size(op.outputs[0]) * inner
    if op.type in ("BatchMatMulV2", "BatchMatMulV3"):
        inner = op.inputs[0].shape[-2 if op.get_attr("adj_x") else -1]
        return 2 * _size(op.outputs[0]) * inner
    if op.type == "Einsum":
        return _einsum_flops(op.get_attr("equation").decode(), op.inputs)
    return None


def _einsum_flops(equation, inputs):
    sizes = {}
    for letters, tensor in zip(equation.split("->")[0].split(","), inputs, strict=True):
        rank = len(letters.replace("...", ""))
        ellipsis = tuple(tensor.shape[: tensor.shape.rank - rank])
        sizes.setdefault("...", int(np.prod(ellipsis)))
        sizes.update(zip(letters.replace("...", ""), tensor.shape[-rank:], strict=True))
    products = 2 if len(inputs) == 2 else 1
    return products * int(np.prod(list(sizes.values())))


def _last(tensor):
    return tensor.shape[-1]


def _size(tensor):
    return tensor.shape.num_elements() or 0


def _bytes(tensor):
    known = tensor.dtype not in (tf.resource, tf.variant, tf.string)
    return _size(tensor) * tensor.dtype.size if known else 0


def _activation_bytes(graph):
    """Bytes of the tensors that the backward pass takes from the forward pass."""
    saved = {}
    total = 0
    operations = _needed(graph)
    for op in operations:
        if op.type in _LOOPS and not op.name.startswith(_BACKWARD):
            for inner in _needed(_function(op, "body")):
                # Kept for each trip. Weights that a loop reads are among them: XLA
                # stacks those too.
                if inner.type == "TensorListPushBack":
                    total += _trips(op) * _bytes(inner.inputs[1])
        if not op.name.startswith(_BACKWARD):
            continue
        for tensor in map(_root, op.inputs):
            forward = not tensor.op.name.startswith(_BACKWARD)
            if forward and tensor.op.type not in _FREE:
                saved[tensor.name] = tensor
    for tensor in list(saved.values()):
        if tensor.op.type == "Cast" and _root(tensor.op.inputs[0]).name in saved:
            del saved[tensor.name]  # Made again from what is kept anyway.
    return total + sum(_bytes(tensor) for tensor in saved.values())


def _root(tensor):
    """What is kept for a tensor: what it is another view, or a wider form, of."""
    while tensor.op.inputs:
        op, source = tensor.op, tensor.op.inputs[0]
        if op.type == "IdentityN":
            source = op.inputs[tensor.value_index]
        elif op.type == "Cast" and _bytes(source) > _bytes(tensor):
            break
        elif op.type not in (*_SAME_MEMORY, "Cast"):
            break
        tensor = source
    return tensor
