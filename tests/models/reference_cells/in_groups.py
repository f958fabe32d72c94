"""The reference of a cell whose state is cut into groups."""

import numpy as np


def grouped(cell):
    """The reference of a cell of groups: the cell's own, with the matrices written out."""

    def step(x, states, weights, groups=4, split_inputs=False):
        units = len(states["h"])
        size = units // groups

        def whole(stored, rows, group_of_row, row_in_group):
            gates = stored.shape[1] // units
            result = np.zeros((rows, stored.shape[1]))
            for row in range(rows):
                for gate in range(gates):
                    first = gate * units + group_of_row(row) * size
                    columns = slice(first, first + size)
                    result[row, columns] = stored[row_in_group(row), columns]
            return result

        u = whole(weights["recurrent_kernel"], units, lambda r: r // size, lambda r: r % size)
        weights = {**weights, "recurrent_kernel": u}
        if split_inputs:
            weights["kernel"] = whole(
                weights["kernel"], len(x), lambda r: r % groups, lambda r: r // groups
            )
        return cell(x, states, weights)

    return step
