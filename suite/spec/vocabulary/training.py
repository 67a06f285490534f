"""Optimizers, losses, initialisers and schedules of others that the suite calls otherwise, or has not."""

from __future__ import annotations

from suite.spec.vocabulary.words import Gap, Synonym, table

_TRUNCATED = "none of the suite's distributions is truncated"

OPTIMIZERS = table(
    {
        "gradient_descent vanilla_sgd": Synonym("sgd"),
        "momentum sgdm sgd_momentum sgd_with_momentum heavy_ball": Synonym("sgd", "State its field momentum."),
        "nesterov nag": Synonym("sgd", "State its fields momentum and `nesterov: true`."),
        "adamw": Gap(
            "Nearest is adam with the field l2, which adds the decay to the gradient, before Adam scales it; adamw "
            "takes the decay from the weights, apart from Adam's step."
        ),
        "sgdw": Gap(
            "Nearest is sgd with the field l2, which adds the decay to the gradient, and so to the momentum; sgdw "
            "takes it from the weights."
        ),
        "nadam nadamw": Gap("Nearest is adam; nadam takes Nesterov's look ahead for its momentum."),
        "adamax adamaxw": Gap(
            "Nearest is adam, which divides by the root of a moving mean of squared gradients; adamax divides by the "
            "largest recent gradient."
        ),
        "radam": Gap(
            "Nearest is adam; radam takes steps without the division until its variance is known well enough."
        ),
        "amsgrad amsgradw": Gap(
            "Nearest is adam, which divides by the root of the present mean square; amsgrad by the largest so far."
        ),
        "sparse_adam lazy_adam": Gap(
            "Nearest is adam, which moves every weight in every step, those without gradient too."
        ),
        "adagrad": Gap(
            "Nearest is rmsprop, which takes a moving mean of squared gradients; adagrad sums all of them, so its "
            "steps only become shorter."
        ),
        "adadelta": Gap(
            "Nearest is rmsprop; adadelta multiplies each step by the root mean square of its own past steps as well."
        ),
        "adafactor": Gap("Nearest is adam; adafactor keeps sums over rows and columns instead of a square per weight."),
        "adabelief yogi adan adabound amsbound ademamix adopt adai padam qhadam diffgrad apollo": Gap(
            "Nearest is adam, of which it is a variation: it takes the moving means of gradients or squares otherwise."
        ),
        "novograd sm3 shampoo soap muon kfac sophia lbfgs bfgs newton conjugate_gradient natural_gradient": Gap(
            "Nearest is adam, which scales each weight's step by itself; the other takes whole layers, rows or "
            "curvature into account."
        ),
        "lion sign_sgd signum": Gap("Nearest is sgd with momentum; the other takes the sign of its step alone."),
        "lamb": Gap("Nearest is adam; lamb multiplies each tensor's step by the tensor's norm over the step's."),
        "lars": Gap("Nearest is sgd with momentum; lars scales each tensor's rate by its norm over its gradient's."),
        "sam asam gsam": Gap(
            "Nearest is sgd; sam takes its gradient where the loss is largest near by, at a second pass."
        ),
        "ftrl": Gap("Nearest is sgd; ftrl solves for weights from the sum of all gradients, with L1 and L2 built in."),
        "asgd swa lookahead ema averaged_sgd polyak_sgd": Gap(
            "Nearest is sgd; the other averages weights over steps, or goes back towards such an average."
        ),
        "rprop": Gap(
            "Nearest is rmsprop, which divides by a moving mean; rprop takes the sign of a full gradient alone."
        ),
        "centered_rmsprop rmsprop_centered": Gap(
            "Nearest is rmsprop; the centred form takes the square of the mean gradient from the mean square."
        ),
        "rmsprop_tf tf_rmsprop": Gap(
            "Nearest is rmsprop with `epsilon_place: inside_root`, which is how TensorFlow's RMSprop adds epsilon."
        ),
        "noisy_sgd sgld dpsgd fromage prodigy dadaptation schedule_free schedule_free_adamw "
        "optimistic_gradient_descent rmsprop_momentum": Gap(
            "Nearest is sgd: `w -= rate * gradient`, with a momentum if one is stated."
        ),
    }
)

LOSSES = table(
    {
        "cross_entropy crossentropyloss sparse_categorical_crossentropy log_loss "
        "softmax_cross_entropy_with_logits sparse_softmax_cross_entropy_with_logits "
        "softmax_cross_entropy_with_integer_labels linear_cross_entropy_loss": Synonym(
            "softmax_cross_entropy", "It takes logits, so no softmax ends the model, and target labels."
        ),
        "categorical_crossentropy": Synonym(
            "softmax_cross_entropy",
            "It takes logits, so no softmax ends the model, and target labels: one-hot rows give the same number.",
        ),
        "nll nll_loss nllloss2d": Synonym(
            "softmax_cross_entropy", "It takes logits and holds the log of a softmax, so no log_softmax ends the model."
        ),
        "binary_crossentropy bce bce_loss bcewithlogits bcewithlogitsloss "
        "sigmoid_binary_cross_entropy sigmoid_cross_entropy_with_logits": Synonym(
            "sigmoid_cross_entropy",
            "It takes logits, so no sigmoid ends the model, and target one_hot or input; it is the mean over batch and "
            "outputs.",
        ),
        "mse mse_loss l2_loss squared_error": Synonym(
            "mean_squared_error", "It is the mean over batch and outputs, without a factor of a half."
        ),
        "mae mean_absolute_error l1 l1_loss absolute_error": Gap(
            "Nearest is mean_squared_error, the mean of squares; the other is the mean of absolute values."
        ),
        "huber huber_loss smooth_l1 smooth_l1_loss log_cosh": Gap(
            "Nearest is mean_squared_error; the other grows with the error itself, not its square, where that is large."
        ),
        "mape mean_absolute_percentage_error msle mean_squared_logarithmic_error": Gap(
            "Nearest is mean_squared_error; the other takes the error relative to the target, or of logarithms."
        ),
        "rmse root_mean_squared_error": Gap("Nearest is mean_squared_error, of which it is the root."),
        "hinge squared_hinge categorical_hinge multi_margin_loss hinge_embedding_loss soft_margin_loss "
        "multilabel_margin_loss multilabel_soft_margin_loss": Gap(
            "Nearest is softmax_cross_entropy; the other asks for a margin between scores instead of a probability."
        ),
        "kl_divergence kl_div kldivloss kullback_leibler_divergence": Gap(
            "Nearest is softmax_cross_entropy, which it equals where the target is a class and not a distribution."
        ),
        "focal focal_loss binary_focal_crossentropy categorical_focal_crossentropy sigmoid_focal_loss": Gap(
            "Nearest are softmax_cross_entropy and sigmoid_cross_entropy; focal loss gives less weight to "
            "examples that are right already."
        ),
        "categorical_generalized_cross_entropy poly_loss": Gap(
            "Nearest is softmax_cross_entropy, another function of p."
        ),
        "label_smoothing smooth_labels": Gap("Nearest is softmax_cross_entropy, against the class itself."),
        "cosine cosine_similarity cosine_embedding_loss cosine_distance": Gap(
            "Nearest is mean_squared_error, which heeds lengths as well as directions."
        ),
        "poisson poisson_nll_loss gaussian_nll_loss": Gap(
            "Nearest is mean_squared_error, the likelihood of a normal distribution of fixed variance."
        ),
        "triplet triplet_margin_loss triplet_margin_with_distance_loss contrastive margin_ranking_loss circle nt_xent "
        "info_nce arcface": Gap("Nearest is softmax_cross_entropy: no loss compares examples with one another."),
        "ctc ctc_loss": Gap("Nothing is near: no target is a sequence."),
        "dice dice_loss tversky jaccard iou_loss": Gap(
            "Nearest is sigmoid_cross_entropy, a mean over single outputs; the other is a ratio over all of them."
        ),
        "negative_sampling nce nce_loss sampled_softmax": Gap(
            "Nearest is sigmoid_cross_entropy with target first and the task embedding's field negatives."
        ),
        "yolo ssd box_loss giou": Gap(
            "Nearest is detection: the cross-entropy of a class, and one box's squared error."
        ),
        "wasserstein gan_loss elbo perceptual ssim hausdorff adaptive_log_softmax_with_loss custom": Gap(
            "Nothing is near: a loss compares outputs with classes, inputs or boxes."
        ),
    }
)

INITIALISERS = table(
    {
        "xavier_uniform": Synonym("glorot_uniform"),
        "xavier_normal": Synonym("glorot_normal"),
        "kaiming_uniform": Synonym(
            "he_uniform", "So it is with the gain of a relu. PyTorch's layers themselves start as fan_in_uniform does."
        ),
        "kaiming_normal": Synonym("he_normal", "So it is with the gain of a relu, counted over the inputs."),
        "xavier glorot": Gap("There are two of this name: glorot_uniform and glorot_normal, of the same variance."),
        "he kaiming msra": Gap("There are two of this name: he_uniform and he_normal, of the same variance."),
        "lecun": Gap("There are two of this name: lecun_uniform and lecun_normal, of the same variance."),
        "zero": Synonym("zeros"),
        "one": Synonym("ones"),
        "pytorch_default torch_default pytorch torch": Synonym(
            "fan_in_uniform", "PyTorch starts kernels and biases so."
        ),
        "keras_default keras": Synonym("glorot_uniform", "Keras starts kernels so, and biases with zeros."),
        "truncated_normal trunc_normal": Gap(
            f"Nearest are lecun_normal, he_normal and glorot_normal, whose spread follows from the layer's size; "
            f"{_TRUNCATED}."
        ),
        "normal random_normal randn gaussian normal_distribution": Gap(
            "Nearest are lecun_normal, he_normal and glorot_normal, whose spread follows from the layer's size; none "
            "takes a standard deviation."
        ),
        "uniform random_uniform uniform_scaling": Gap(
            "Nearest are fan_in_uniform, lecun_uniform, he_uniform and glorot_uniform, whose bound follows from the "
            "layer's size; none takes a bound."
        ),
        "variance_scaling": Gap(
            "Nearest are the lecun, he and glorot ones, which are scales of 1, 2 and 1 over the inputs, and of 1 over "
            f"the mean of inputs and outputs; {_TRUNCATED}."
        ),
        "fan_in fan_out fan_avg fan_in_normal": Gap(
            "Nearest are the lecun ones and fan_in_uniform, by the inputs, and the glorot ones, by inputs and outputs."
        ),
        "constant fill": Gap("Nearest are zeros and ones; none takes another value."),
        "orthogonal delta_orthogonal": Gap(
            "Nearest is glorot_uniform, whose columns are not orthogonal to one another."
        ),
        "identity eye dirac": Gap("Nothing is near: no start passes the input on."),
        "sparse stft initializer default auto none": Gap("Nothing is near: every distribution here is named in full."),
    }
)

_STEPS = "A schedule is steps: the rate is multiplied by `factor` before each of the epochs `at`;"

SCHEDULES = table(
    {
        "step multistep step_lr multistep_lr step_decay piecewise piecewise_constant piecewise_constant_decay "
        "piecewise_constant_schedule": Gap(
            "That is what a schedule is, without a kind: the rate is multiplied by `factor` before each of the epochs "
            "`at`, counted from 0.",
            whole=True,
        ),
        "cosine cosine_decay cosine_annealing cosine_annealing_lr cosine_annealing_warm_restarts cosine_decay_restarts "
        "cosine_with_warmup sgdr warmup_cosine_decay": Gap(f"{_STEPS} none follows a cosine.", whole=True),
        "exponential exponential_decay exponential_lr": Gap(
            f"{_STEPS} with every epoch named under `at` that is a decay by epochs; none goes by batches.", whole=True
        ),
        "plateau reduce_on_plateau reduce_lr_on_plateau": Gap(
            f"{_STEPS} none waits for a loss that no longer falls. early_stopping does, and ends the training.",
            whole=True,
        ),
        "linear linear_decay linear_lr polynomial polynomial_decay polynomial_lr linear_schedule": Gap(
            f"{_STEPS} none falls in a straight line.", whole=True
        ),
        "one_cycle one_cycle_lr cyclic cyclic_lr triangular": Gap(f"{_STEPS} none rises.", whole=True),
        "warmup warmup_linear linear_warmup": Gap(
            f"{_STEPS} none rises, and the first epochs have the full rate.", whole=True
        ),
        "inverse_time inverse_time_decay inverse_sqrt noam rsqrt": Gap(
            f"{_STEPS} none goes by the number of batches.", whole=True
        ),
        "constant constant_lr none fixed": Gap(
            "Leave the schedule out: without one the rate stays as it is.", whole=True
        ),
        "lambda lambda_lr multiplicative_lr chained_scheduler sequential_lr custom join_schedules": Gap(
            f"{_STEPS} none is a function of one's own.", whole=True
        ),
    }
)
