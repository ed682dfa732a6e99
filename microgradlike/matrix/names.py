"""Names of the arrays: W² for the labels w²₁₁, w²₁₂, …; z¹, a¹, W¹, b¹ where there is a layer; else w₁, v₂."""

from __future__ import annotations

import re
from collections import Counter

from microgradlike.matrix.arrays import Apply, Array, Ref, Sum
from microgradlike.notation.digits import subscript, superscript
from microgradlike.value import Value


def name_arrays(arrays: list[Array], nodes: list[Value], n_arguments: int, loss: Value) -> None:
    """Name every array, all differently: by its labels, its part in a layer, or a number."""
    taken: set[str] = set()
    again: Counter[str] = Counter()

    def give(array: Array, name: str) -> None:
        if not array.name:
            array.name = name
            while array.name in taken:  # W, W′, W′′, …, and after nine primes W₁₀, W₁₁, …
                again[name] += 1
                array.name = name + ("′" * again[name] if again[name] < 10 else subscript(again[name]))
            taken.add(array.name)

    for array in arrays:
        if name := _common([nodes[i].label for i in array.entries if i >= 0 and nodes[i].label]):
            is_matrix = array.kind == "parameter" and len(array.shape) > 1
            give(array, name[0].upper() + name[1:] if is_matrix else name)
    for i, array in enumerate([array for array in arrays if array.kind == "batch" and not array.name]):
        give(array, "xy"[i] if n_arguments <= 2 else "x" + subscript(i + 1))
    layer = sum(map(is_weighted_input, arrays))
    for array in arrays:  # what has no label and looks like a layer is called as in the textbook
        match array.instruction:
            case Apply(_, [Ref(Array() as z)]) if is_weighted_input(z):
                give(array, "a" + z.name[1:])
            case Sum(groups) if array.size > 1:
                read = [(g, ref.array) for g in groups for ref in g.refs if ref.array]
                used = [a for g, a in read if g.is_product and not a.varies]
                used += [ref.array for a in used for ref in a.refs if ref.array]
                weights = [a for a in used if a.kind == "parameter"]
                biases = [a for g, a in read if g.right is None and a.kind == "parameter"]
                if weights:
                    layer += not is_weighted_input(array)
                    give(array, "z" + superscript(layer))
                    number = array.name[1:] if is_weighted_input(array) else superscript(layer)
                    for weight in weights:
                        if len(weight.shape) > 1:
                            give(weight, "W" + number)
                    for bias in biases:
                        give(bias, "b" + number)
    for array in arrays:
        if array.size == 1 and array.entries[0] >= 0 and nodes[array.entries[0]] is loss:
            give(array, "C")
    for i, array in enumerate([array for array in arrays if not array.name], start=1):
        array.named = array.kind != "computed"
        give(array, ("w" if array.named else "v") + subscript(i))


def is_weighted_input(array: Array) -> bool:
    """Return whether it is called z¹, z², …, as the textbook calls what it takes the error δ of."""
    return array.kind == "computed" and re.fullmatch("z[⁰¹²³⁴-⁹]*′*|z[⁰¹²³⁴-⁹]+[₀-₉]+", array.name) is not None


def _common(labels: list[str]) -> str:
    """Return what the labels have in common, or ""; the label itself where there is one, and it has no layer."""
    if len(labels) == 1 and not re.search("[⁰-⁹¹²³]", labels[0]):
        return labels[0]
    stems = {stem(label) for label in labels}
    return stems.pop() if len(stems) == 1 else ""


def stem(label: str) -> str:
    """Return a label without its indices: w² for w²₁₁, x for x[0]."""
    return re.sub(r"[₀-₉,]+$|[\[(_]?\d+(?:[\])\[(_,]+\d+)*[\])]?$", "", label).replace("′", "").replace("″", "")
