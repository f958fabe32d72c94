"""Names and numbers of the public TFLite schema, ``tensorflow/lite/schema/schema.fbs``."""

from __future__ import annotations

# The schema's BuiltinOperator enum, in order of its values.
# fmt: off
OPERATOR_NAMES = (
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE",
    "DEQUANTIZE", "EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP",
    "L2_NORMALIZATION", "L2_POOL_2D", "LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC",
    "LSH_PROJECTION", "LSTM", "MAX_POOL_2D", "MUL", "RELU", "RELU_N1_TO_1", "RELU6", "RESHAPE",
    "RESIZE_BILINEAR", "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH", "CONCAT_EMBEDDINGS",
    "SKIP_GRAM", "CALL", "CUSTOM", "EMBEDDING_LOOKUP_SPARSE", "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "GATHER", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND",
    "TRANSPOSE", "MEAN", "SUB", "DIV", "SQUEEZE", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "STRIDED_SLICE", "BIDIRECTIONAL_SEQUENCE_RNN", "EXP", "TOPK_V2", "SPLIT", "LOG_SOFTMAX",
    "DELEGATE", "BIDIRECTIONAL_SEQUENCE_LSTM", "CAST", "PRELU", "MAXIMUM", "ARG_MAX", "MINIMUM",
    "LESS", "NEG", "PADV2", "GREATER", "GREATER_EQUAL", "LESS_EQUAL", "SELECT", "SLICE", "SIN",
    "TRANSPOSE_CONV", "SPARSE_TO_DENSE", "TILE", "EXPAND_DIMS", "EQUAL", "NOT_EQUAL", "LOG",
    "SUM", "SQRT", "RSQRT", "SHAPE", "POW", "ARG_MIN", "FAKE_QUANT", "REDUCE_PROD",
    "REDUCE_MAX", "PACK", "LOGICAL_OR", "ONE_HOT", "LOGICAL_AND", "LOGICAL_NOT", "UNPACK",
    "REDUCE_MIN", "FLOOR_DIV", "REDUCE_ANY", "SQUARE", "ZEROS_LIKE", "FILL", "FLOOR_MOD",
    "RANGE", "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "SQUARED_DIFFERENCE", "MIRROR_PAD", "ABS",
    "SPLIT_V", "UNIQUE", "CEIL", "REVERSE_V2", "ADD_N", "GATHER_ND", "COS", "WHERE", "RANK",
    "ELU", "REVERSE_SEQUENCE", "MATRIX_DIAG", "QUANTIZE", "MATRIX_SET_DIAG", "ROUND",
    "HARD_SWISH", "IF", "WHILE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5",
    "SCATTER_ND", "SELECT_V2", "DENSIFY", "SEGMENT_SUM", "BATCH_MATMUL",
    "PLACEHOLDER_FOR_GREATER_OP_CODES", "CUMSUM", "CALL_ONCE", "BROADCAST_TO", "RFFT2D",
    "CONV_3D", "IMAG", "REAL", "COMPLEX_ABS", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT",
    "HASHTABLE_SIZE", "REDUCE_ALL", "CONV_3D_TRANSPOSE", "VAR_HANDLE", "READ_VARIABLE",
    "ASSIGN_VARIABLE", "BROADCAST_ARGS", "RANDOM_STANDARD_NORMAL", "BUCKETIZE",
    "RANDOM_UNIFORM", "MULTINOMIAL", "GELU", "DYNAMIC_UPDATE_SLICE", "RELU_0_TO_1",
    "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM", "ATAN2",
    "UNSORTED_SEGMENT_MIN", "SIGN", "BITCAST", "BITWISE_XOR", "RIGHT_SHIFT",
    "STABLEHLO_LOGISTIC", "STABLEHLO_ADD", "STABLEHLO_DIVIDE", "STABLEHLO_MULTIPLY",
    "STABLEHLO_MAXIMUM", "STABLEHLO_RESHAPE", "STABLEHLO_CLAMP", "STABLEHLO_CONCATENATE",
    "STABLEHLO_BROADCAST_IN_DIM", "STABLEHLO_CONVOLUTION", "STABLEHLO_SLICE",
    "STABLEHLO_CUSTOM_CALL", "STABLEHLO_REDUCE", "STABLEHLO_ABS", "STABLEHLO_AND",
    "STABLEHLO_COSINE", "STABLEHLO_EXPONENTIAL", "STABLEHLO_FLOOR", "STABLEHLO_LOG",
    "STABLEHLO_MINIMUM", "STABLEHLO_NEGATE", "STABLEHLO_OR", "STABLEHLO_POWER",
    "STABLEHLO_REMAINDER", "STABLEHLO_RSQRT", "STABLEHLO_SELECT", "STABLEHLO_SUBTRACT",
    "STABLEHLO_TANH", "STABLEHLO_SCATTER", "STABLEHLO_COMPARE", "STABLEHLO_CONVERT",
    "STABLEHLO_DYNAMIC_SLICE", "STABLEHLO_DYNAMIC_UPDATE_SLICE", "STABLEHLO_PAD",
    "STABLEHLO_IOTA", "STABLEHLO_DOT_GENERAL", "STABLEHLO_REDUCE_WINDOW", "STABLEHLO_SORT",
    "STABLEHLO_WHILE", "STABLEHLO_GATHER", "STABLEHLO_TRANSPOSE", "DILATE",
    "STABLEHLO_RNG_BIT_GENERATOR", "REDUCE_WINDOW", "STABLEHLO_COMPOSITE",
    "STABLEHLO_SHIFT_LEFT", "STABLEHLO_CBRT", "STABLEHLO_CASE",
)
# fmt: on
CUSTOM_OPERATOR = 32

# The schema's ActivationFunctionType enum: what an operator may apply to its result.
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
_ACTIVATION = ("activation", "b", 0)
# Of each operator whose options matter to the value that it computes: the tag in the schema's
# BuiltinOptions union, and of each field its number, name, type and default.
OPTIONS: dict[str, tuple[int, dict[int, tuple[str, str, float]]]] = {
    "ADD": (11, {0: _ACTIVATION}),
    "AVERAGE_POOL_2D": (5, {5: _ACTIVATION}),
    "BATCH_MATMUL": (101, {0: ("adj_x", "?", 0), 1: ("adj_y", "?", 0)}),
    "CONCATENATION": (10, {0: ("axis", "i", 0), 1: _ACTIVATION}),
    "DIV": (29, {0: _ACTIVATION}),
    "FULLY_CONNECTED": (
        8, {0: _ACTIVATION, 1: ("weights_format", "b", 0), 2: ("keep_num_dims", "?", 0)}
    ),
    "GATHER": (23, {0: ("axis", "i", 0), 1: ("batch_dims", "i", 0)}),
    "MAX_POOL_2D": (5, {5: _ACTIVATION}),
    "LEAKY_RELU": (75, {0: ("alpha", "f", 0)}),
    "MEAN": (27, {0: ("keep_dims", "?", 0)}),
    "MUL": (21, {0: _ACTIVATION}),
    "PACK": (59, {0: ("values_count", "i", 0), 1: ("axis", "i", 0)}),
    "SOFTMAX": (9, {0: ("beta", "f", 0)}),
    "SPLIT": (35, {0: ("num_splits", "i", 0)}),
    "STRIDED_SLICE": (
        32,
        {
            0: ("begin_mask", "i", 0),
            1: ("end_mask", "i", 0),
            2: ("ellipsis_mask", "i", 0),
            3: ("new_axis_mask", "i", 0),
            4: ("shrink_axis_mask", "i", 0),
            5: ("offset", "?", 0),
        },
    ),
    "SUB": (28, {0: _ACTIVATION}),
    "SUM": (27, {0: ("keep_dims", "?", 0)}),
}  # fmt: skip

# The schema's TensorType enum: name as NumPy spells it, and bytes per element
# (None where elements are packed or of variable size).
TENSOR_TYPES: tuple[tuple[str, int | None], ...] = (
    ("float32", 4), ("float16", 2), ("int32", 4), ("uint8", 1), ("int64", 8), ("string", None),
    ("bool", 1), ("int16", 2), ("complex64", 8), ("int8", 1), ("float64", 8), ("complex128", 16),
    ("uint64", 8), ("resource", None), ("variant", None), ("uint32", 4), ("uint16", 2),
    ("int4", None), ("bfloat16", 2),
)  # fmt: skip
