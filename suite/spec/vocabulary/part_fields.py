"""Fields of layers and optimizers elsewhere, by the model that the suite would read them into."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from suite.spec.vocabulary.words import Entry, Gap, Synonym, Table, table

CLIPPED = Gap(
    "Gradients are never clipped. Nearest is a smaller learning_rate, which shortens every step and not the long ones."
)
_ALL_KERNELS = "falls on the kernels of all layers alike, and not on biases or batch norms"
DECAY = Gap(
    "Nearest is the spec's field l2: the objective gains l2 * sum(kernel ** 2), whose gradient is that of a weight "
    f"decay of 2 * l2 as PyTorch's SGD, Adam and RMSprop have it. It {_ALL_KERNELS}, where theirs falls on every "
    "parameter; AdamW's and Keras' optimizers take their weight_decay from the weights, apart from the gradient."
)
SCHEDULED = "is the spec's field schedule, steps of the rate: `schedule: {at: [epoch, ...], factor: 0.1}`."
SEEDS = "A spec has no seed: a profile's field seeds says which are run, and every framework takes the same numbers."
ONE_TYPE = (
    "Precision is how a benchmark is run: a profile's `precisions`, or `suite run --precision`. It is float32, tf32 on "
    "a GPU or bfloat16, which is mixed; every one of them is proven."
)
_LAYOUT = Gap("Shapes are written (height, width, channels) throughout, whatever a framework lays out in memory.")
GIVEN = Gap("Leave it out: the input's shape follows from the data set and from the layer before.")
_NAMED = Gap("Leave it out: layers are called by kind and place, as in conv2d_1 and dense_2.")
_FROZEN = Gap("Nearest is the spec's field frozen, which names the layers that are not trained, as in [conv2d_1].")
_OWN_LAYER = Gap("Nearest is a layer of its own after this one, as in `layer: relu`.")
_START = "kernel_init says how the kernel starts, bias_init the bias"

_LAYER = table(
    {
        "activation act nonlinearity activation_fn": _OWN_LAYER,
        "name": _NAMED,
        "trainable requires_grad freeze frozen": _FROZEN,
        "dtype device precision autocast": Gap(ONE_TYPE),
        "data_format layout memory_format": _LAYOUT,
        "input_shape input_dim in_features in_channels input_size num_inputs in_dim num_features "
        "batch_input_shape": GIVEN,
        "kernel_regularizer regularizer weight_regularizer l2 weight_decay": Gap(
            f"Nearest is the spec's field l2, which {_ALL_KERNELS}: l2 * sum(kernel ** 2) is added to the loss."
        ),
        "bias_regularizer gamma_regularizer beta_regularizer activity_regularizer embeddings_regularizer l1": Gap(
            f"Nearest is the spec's field l2, which {_ALL_KERNELS}."
        ),
        "kernel_constraint bias_constraint gamma_constraint beta_constraint embeddings_constraint max_norm "
        "norm_type": Gap("Nearest is the spec's field l2: weights are drawn to 0, and never cut to a norm."),
        "kernel_initializer weight_init w_init kernel_initialiser weights_initializer": Synonym("kernel_init"),
        "bias_initializer b_init bias_initialiser": Synonym("bias_init"),
        "initializer init weight_initializer": Gap(f"There are two of this meaning: {_START}."),
        "bias with_bias has_bias": Synonym("use_bias"),
        "dropout dropout_rate batch_norm normalization norm normalizer": Gap(
            "Nearest is a layer of its own after this one, as in `layer: batch_norm` or `{layer: dropout, rate: 0.5}`."
        ),
        "inplace foreach fused": Gap("Leave it out: it decides nothing of what is computed."),
        "quantization_config lora_rank lora_alpha": Gap("Leave it out: kernels are trained whole, in float32."),
        "seed rng": Gap(SEEDS),
        "repeat times n": Gap("Write the layer out as often as it stands there."),
        "type class_name kind op": Synonym("layer"),
        "config params kwargs args": Gap("Write the fields beside `layer:`."),
    }
)

_SPATIAL: dict[str, Entry] = {
    "strides": Synonym("stride"),
    "pad pads auto_pad border_mode": Synonym("padding"),
    "dilation dilation_rate dilations rate atrous_rate": Gap(
        "Nearest is a larger window without holes: every value of a window counts."
    ),
    "ceil_mode": Gap(
        "Nearest is `padding: same`, which gives ceil(size / stride) outputs; else a window that does not fit is left "
        "out."
    ),
}
_POOL: dict[str, Entry] = {
    **_SPATIAL,
    "kernel kernel_size kernel_shape pool_size pool ksize size window_shape": Synonym("window"),
    "return_indices storage_order": Gap("Leave it out: a pool gives values, and no places."),
}
_CONV: dict[str, Entry] = {
    **_SPATIAL,
    "out_channels channels num_filters features nb_filter n_filters num_output output_channels units": Synonym(
        "filters"
    ),
    "kernel_size kernel_shape ksize filter_size window size": Synonym("kernel"),
    "groups feature_group_count group depth_multiplier": Gap("Every filter sees all channels, as in one group."),
    "padding_mode": Gap("All padding is of zeros."),
}
_NORM: dict[str, Entry] = {
    "eps": Synonym("epsilon"),
    "decay": Synonym("momentum", "It is the share of the old value that is kept."),
    "axis dim": Gap("Leave it out: each channel, the last axis, has its own mean and variance."),
    "scale center affine use_scale use_bias elementwise_affine gamma beta bias": Gap(
        "Every batch_norm has a scale, gamma, and a shift, beta. Nearest is its name under frozen, as in "
        "[batch_norm_1]: but that keeps its running statistics as well."
    ),
    "unbiased bessel biased": Synonym(
        "running_variance",
        "It is unbiased, as in PyTorch and TensorFlow's fused operation, or biased, as in Keras; a batch itself is "
        "normalised with its biased variance.",
    ),
    "track_running_stats use_running_average training momentum_schedule": Gap(
        "Leave it out: training uses the batch's statistics, evaluation the running ones. A frozen one keeps to those."
    ),
    "renorm renorm_clipping renorm_momentum synchronized virtual_batch_size": Gap(
        "Nearest is batch_norm as it is: the statistics are those of one whole batch, without a correction."
    ),
    "gamma_initializer beta_initializer moving_mean_initializer moving_variance_initializer": Gap(
        "Leave it out: scale and running variance start at 1, shift and running mean at 0."
    ),
    "groups num_groups": Gap("Statistics are over the batch, and each channel has its own; there are no groups."),
}
_OPTIMIZER: dict[str, Entry] = {
    "lr rate step_size eta eta0 alpha0": Synonym("learning_rate"),
    "weight_decay wd l2 decoupled_weight_decay adam_weight_decay": DECAY,
    "clip_norm clip_value global_clipnorm max_grad_norm grad_clip": CLIPPED,
    "decay lr_decay schedule scheduler warmup warmup_steps warmup_epochs learning_rate_decay": Gap(
        f"Nearest {SCHEDULED}"
    ),
    "amsgrad": Gap("Nearest is adam, which divides by the present mean square; amsgrad by the largest so far."),
    "maximize": Gap("Leave it out: the loss is minimised."),
    "foreach fused capturable differentiable use_locking jit_compile": Gap(
        "Leave it out: each runner takes the fused form of its framework where it computes the same."
    ),
    "use_ema ema_momentum ema_overwrite_frequency averaging": Gap(
        "Weights are judged as the last step leaves them, without averages."
    ),
    "gradient_accumulation_steps loss_scale_factor loss_scale": Gap(
        "There is one step for each batch, in float32, so no loss is scaled."
    ),
    "dampening": Gap("Leave it out: momentum has no dampening."),
    "centered": Gap("Nearest is rmsprop as it is; the centred form takes the square of the mean gradient away."),
    "initial_accumulator_value": Gap("Leave it out: what an optimizer remembers starts at 0."),
    "use_nesterov": Synonym("nesterov"),
    "type class_name kind optimizer": Synonym("name"),
    "config params kwargs": Gap("Write the fields beside `name:`."),
    "momentum": Gap("Nearest is sgd, the only one with a momentum of that name; adam's beta_1 does the like."),
    "nesterov": Gap("Nearest is sgd with `nesterov: true`."),
    "trust_coefficient bias_correction use_bias_correction eps_root momentum_decay lambd t0": Gap(
        "Nearest is the optimizer as its paper has it; `suite show` states every value that it takes."
    ),
}
_INSIDE = "epsilon_inside_sqrt eps_in_sqrt epsilon_inside_root eps_inside_sqrt"

PART_FIELDS: Mapping[str, Table] = MappingProxyType(
    {
        "Norm": table(_NORM),
        "Dense": table(
            {
                "out_features features output_dim output_size neurons hidden num_outputs nodes filters size "
                "width": Synonym("units"),
            }
        ),
        "Conv2D": table(_CONV),
        "MaxPool": table(_POOL),
        "AveragePool": table(
            {
                **_POOL,
                "count_include_pad include_pad": Synonym(
                    "count_padding",
                    "It is false unless stated, as in TensorFlow; PyTorch counts padding unless it is told not to.",
                ),
                "divisor_override": Gap(
                    "Nearest is `count_padding: true`, by which every window is divided by its size."
                ),
            }
        ),
        "GlobalAveragePool": table({"keepdims keep_dim": Gap("Leave it out: it gives (channels,).")}),
        "BatchNorm": table(_NORM),
        "Dropout": table(
            {
                "p prob probability drop_rate drop_prob dropout_rate": Synonym("rate"),
                "keep_prob keep_rate retain": Gap("Nearest is rate, the share that is zeroed: 1 - keep_prob."),
                "noise_shape": Gap("Leave it out: each value is zeroed by itself."),
            }
        ),
        "Embedding": table(
            {
                "num_embeddings input_dim vocab_size vocabulary_size": Synonym("vocabulary"),
                "embedding_dim output_dim features dim": Synonym("units"),
                "embeddings_initializer embedding_init": Synonym("init"),
                "mask_zero padding_idx sparse scale_grad_by_freq mode": Gap(
                    "Leave it out: a layer embedding gives the mean of all of its tokens' rows."
                ),
            }
        ),
        "Residual": table(
            {
                "layers block main": Synonym("body"),
                "skip projection downsample identity": Synonym("shortcut"),
            }
        ),
        "Concat": table(
            {
                "layers inputs paths towers": Synonym("branches"),
                "axis dim": Gap("Leave it out: branches end in (features,), and there is one axis."),
            }
        ),
        "Activation": table(
            {
                "slope negative_slope alpha max_value threshold leak": Gap(
                    "relu is 0 below 0 and has no other bound. Nearest is relu as it is."
                ),
                "axis dim": Gap("Leave it out: softmax is over the last axis."),
                "approximate": Gap("Leave it out: functions are computed in full."),
            }
        ),
        "Sgd": table({"beta mu": Synonym("momentum")}),
        "Adam": table(
            {
                "b1 beta_one": Synonym("beta_1"),
                "b2 beta_two": Synonym("beta_2"),
                "alpha": Synonym("learning_rate", "It is the paper's letter for it."),
                "betas": Gap("There are two fields: beta_1 and beta_2."),
                "eps": Synonym("epsilon"),
                "epsilon_hat": Synonym(
                    "epsilon",
                    "With `epsilon_place: before_correction` it is the paper's epsilon hat, as TensorFlow has it.",
                ),
                _INSIDE: Gap(
                    "Adam's epsilon is added to the root. Nearest is epsilon_place, which says whether after bias "
                    "correction, as in PyTorch, or before it, as in TensorFlow and Keras."
                ),
            }
        ),
        "RmsProp": table(
            {
                "alpha beta decay_rate smoothing discounting_factor beta_2": Synonym("rho"),
                "eps": Synonym("epsilon"),
                _INSIDE: Synonym(
                    "epsilon_place", "It is outside_root, as in PyTorch, or inside_root, as in TensorFlow and Keras."
                ),
            }
        ),
        "layer": _LAYER,
        "optimizer": table(_OPTIMIZER),
    }
)
"""``layer`` and ``optimizer`` are of all of their kind."""
