"""Fields of specs and profiles elsewhere, by the model that the suite would read them into."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from suite.spec.vocabulary.part_fields import CLIPPED, DECAY, GIVEN, ONE_TYPE, PART_FIELDS, SCHEDULED, SEEDS
from suite.spec.vocabulary.words import Gap, Synonym, Table, table

_PROFILE = "It is no part of a benchmark but of how it is run: a profile in benchmarks/profiles, or `suite run --help`."
_EMPTY: Table = MappingProxyType({})

_SPEC = table(
    {
        "lr learning_rate_init": Gap("Nearest is the optimizer's field learning_rate."),
        "weight_decay wd": DECAY,
        "l1 l1_regularization l1_l2 elastic_net lasso": Gap(
            "Nearest is l2, which penalises the squares of kernels; L1 penalises absolute values, and makes zeros."
        ),
        "l2_regularization l2_reg l2_penalty kernel_regularizer regularization regularizer ridge": Synonym("l2"),
        "label_smoothing smoothing": Gap(
            "Nearest is softmax_cross_entropy as it is: its target is the class, with nothing spread over the others."
        ),
        "seed random_seed random_state rng manual_seed": Gap(SEEDS),
        "shuffle": Gap(
            "Training images are visited in a new order in each epoch, the same for every framework; none is left as "
            "it is."
        ),
        "metrics metric scoring": Gap(
            "What a model is judged by follows from the field task; the core computes it from outputs, for all alike."
        ),
        "callbacks callback hooks": Gap("Nearest are early_stopping and schedule, which are fields of their own."),
        "clip_norm clip_value global_clipnorm gradient_clipping gradient_clip_norm grad_clip "
        "max_grad_norm "
        "clip_grad_norm gradient_clip_val": CLIPPED,
        "steps max_steps num_steps iterations max_iter max_iterations train_steps total_steps": Gap(
            "Nearest is epochs: training goes on for whole passes over the training images."
        ),
        "steps_per_epoch validation_steps limit_train_batches": Gap(
            "An epoch is every training image once, the last batch being ragged: steps follow from batch_size."
        ),
        "drop_last drop_remainder": Gap("The last batch of an epoch is ragged, and never left out."),
        "validation_split val_split valid_split val_fraction validation_size val_size": Synonym("validation_fraction"),
        "validation_data val_data validation val_dataset": Gap(
            "Nearest is validation_fraction, a share of the training images; no data set has a third part."
        ),
        "patience": Gap("Nearest is the field patience of early_stopping."),
        "early_stop earlystopping_patience stopping": Synonym("early_stopping", "It is `{patience: 3}`, say."),
        "mixup cutmix cutout randaugment autoaugment": Gap(
            "Nearest is augmentation, crop and flip: no image is mixed with another, or cut."
        ),
        "sampler weighted_sampler balanced": Gap("Training images are visited once in each epoch, in a random order."),
        "model_name id title_short": Synonym("name"),
        "tags license version notes note comment comments metadata": Gap(
            "Nearest are description, and source, of which note is a part. A line of YAML may be a comment: # ..."
        ),
        "bias use_bias": Gap("Nearest is use_bias of a layer: `{layer: dense, units: 10, use_bias: false}`."),
        "num_epochs n_epochs nb_epoch nb_epochs max_epochs number_of_epochs": Synonym("epochs"),
        "batch bs minibatch minibatch_size train_batch_size per_device_batch_size": Synonym("batch_size"),
        "test_batch_size eval_batch_size": Gap("Nearest is a profile's throughput_batches; of training, batch_size."),
        "optim optimiser solver updater": Synonym("optimizer"),
        "criterion loss_fn loss_function objective cost": Synonym("loss"),
        "layers network architecture net backbone modules": Synonym("model"),
        "data train_data datasets": Synonym("dataset"),
        "scheduler lr_scheduler learning_rate_schedule lr_schedule lr_decay decay": Synonym(
            "schedule", "It is steps: `{at: [epoch, ...], factor: 0.1}`."
        ),
        "warmup warmup_epochs warmup_steps": Gap(f"Nearest {SCHEDULED} None rises."),
        "augment augmentations data_augmentation transforms transform": Synonym("augmentation", "It is crop and flip."),
        "rescale scaling preprocessing normalize normalization scale": Synonym(
            "input_range", "It maps all pixels linearly onto [low, high]."
        ),
        "mean std standardize standardization": Gap(
            "Nearest is input_range, one linear map for all channels: [(0 - mean) / std, (1 - mean) / std] for pixels "
            "of 0 to 1."
        ),
        "precision dtype mixed_precision amp fp16 bf16 bfloat16 float16 float32 half autocast": Gap(ONE_TYPE),
        "device threads num_threads mode modes runner runners framework backend rounds repeats seeds trials profile "
        "compile jit xla deterministic timeout": Gap(_PROFILE),
        "num_workers workers pin_memory prefetch prefetch_factor cache loader dataloader persistent_workers": Gap(
            "Training images are made resident before an epoch is timed, so there is no loader to be set."
        ),
        "class_weight class_weights sample_weight sample_weights pos_weight": Gap(
            "Nearest is the loss as it is: each training image counts alike."
        ),
        "gradient_accumulation accumulate accumulation_steps gradient_accumulation_steps accumulate_grad_batches": Gap(
            "Nearest is a larger batch_size: there is one step of the optimizer for each batch."
        ),
        "ema use_ema ema_momentum swa polyak": Gap(
            "Weights are judged as the last step leaves them, without averages."
        ),
        "pretrained weights checkpoint init_from load_from resume initial_weights": Synonym(
            "starts_from", "It names a benchmark, or weights:NAME."
        ),
        "freeze frozen_layers trainable": Synonym("frozen", "It names the layers that are not trained."),
        "num_classes classes n_classes": Gap("Leave it out: the number of classes is the data set's."),
        "input_shape input_size image_size img_size in_channels resize": GIVEN,
        "dropout dropout_rate": Gap("Nearest is a layer of its own: `{layer: dropout, rate: 0.5}`."),
        "activation": Gap("Nearest is a layer of its own: `{layer: relu}`."),
        "batch_norm batch_normalization": Gap("Nearest is a layer of its own: `{layer: batch_norm}`."),
        "distributed strategy world_size num_gpus data_parallel ddp fsdp sharding": Gap(
            "A run computes on one device."
        ),
        "verbose logging log_interval log_dir tensorboard wandb save_path output_dir": Gap(
            "What a run leaves is its folder in reports/, and no benchmark says otherwise."
        ),
        "variants variant case configurations grid": Gap("Nearest is cases, each of which replaces whole fields."),
        "target_acc stop_at": Synonym("target_accuracy", "It stops nothing."),
        "url link paper authors author reference": Gap("Nearest is source: title, year and note."),
        "test_split test_size train_size train_test_split split": Gap(
            "Every data set comes in two parts, training and test; validation_fraction takes its share of the first."
        ),
    }
)

_SCHEDULE = table(
    {
        "milestones epochs boundaries steps step": Synonym("at", "They are epochs, counted from 0."),
        "gamma decay decay_rate multiplier drop": Synonym("factor"),
        "kind type name policy class_name mode": Gap(
            "A schedule has no kind: the rate is multiplied by `factor` before each of the epochs `at`.", whole=True
        ),
        "warmup warmup_epochs warmup_steps warmup_ratio init_value peak_value initial_learning_rate": Gap(
            "No schedule rises, and the first epochs have the full rate.", whole=True
        ),
        "monitor patience cooldown threshold min_delta": Gap(
            "No schedule waits for a loss: the epochs are stated beforehand. early_stopping watches one, and ends the "
            "training.",
            whole=True,
        ),
        "t_max eta_min min_lr max_lr base_lr total_steps decay_steps alpha power cycle end_learning_rate end_factor "
        "t_0 t_mult warm_restarts values pct_start": Gap(
            "Schedules are steps alone: the rate is multiplied by `factor` before each of the epochs `at`.", whole=True
        ),
        "step_size every interval period": Gap(
            "Nearest is at, which names each epoch: [30, 60, 90] for one step in 30 epochs.", whole=True
        ),
    }
)
_EARLY_STOPPING = table(
    {
        "restore_best_weights": Synonym("restore_best"),
        "metric quantity": Synonym("monitor"),
        "delta threshold tol min_improvement": Synonym("min_delta"),
        "epochs wait max_wait n_iter_no_change": Synonym("patience"),
        "mode": Gap("Leave it out: a loss is better when it falls, an accuracy when it rises."),
        "baseline start_from_epoch cooldown": Gap(
            "Nearest is patience: every epoch counts, and the first is what is beaten."
        ),
        "verbose": Gap("Leave it out: results state when a training stopped."),
    }
)
_AUGMENTATION = table(
    {
        "random_crop padding pad": Synonym("crop", "It is the pixels of padding on each side before a random crop."),
        "random_flip horizontal_flip hflip fliplr random_horizontal_flip mirror": Synonym(
            "flip", "It is from left to right."
        ),
        "vertical_flip rotation zoom shift width_shift height_shift shear brightness contrast hue saturation "
        "color_jitter cutout mixup cutmix noise erasing scale randaugment autoaugment": Gap(
            "Nearest are crop and flip, which every framework is given as the very same pixels."
        ),
    }
)
_PROFILE_FIELDS = table(
    {
        "seed random_seed": Synonym("seeds", "It is a list: round r trains from seed r."),
        "repeats repetitions runs n_runs trials": Synonym("rounds"),
        "specs spec": Synonym("benchmarks"),
        "frameworks backends": Synonym("runners", "It maps each to its modes."),
        "num_threads n_threads cores": Synonym("threads", "It is `{intra: 2, inter: 1}`."),
        "timeout max_seconds": Synonym("timeout_seconds"),
        "max_epochs num_epochs": Synonym("epochs"),
        "batch_size batch_sizes batches": Gap(
            "Nearest are latency_batches and throughput_batches; training's is the spec's."
        ),
        "warmup warmup_iterations iterations min_time": Gap(
            "Leave it out: each runner states how many calls warm it up, for all benchmarks alike."
        ),
        "gpu gpus accelerator": Gap("Nearest is `device: cuda`."),
        "determinism": Synonym("deterministic"),
        "modes mode": Gap("Nearest is runners, which maps each framework to its modes."),
        "dtype precision mixed_precision amp autocast": Synonym(
            "precisions", "A list of float32, tf32 (on a GPU) and bfloat16 (mixed)."
        ),
    }
)

FIELDS: Mapping[str, Table] = MappingProxyType(
    {
        "Recipe": _SPEC,
        "Form": table(
            {
                "resnet50 resnet18 resnet34 resnet101 resnet152": Gap(
                    "Nearest is resnet, of bottleneck blocks: `blocks: [3, 4, 6, 3]` is ResNet-50."
                ),
                "perceptron dense feedforward": Synonym("mlp"),
                "cnn convnet lenet vgg vgg16 vgg19 alexnet mobilenet inception efficientnet densenet unet transformer "
                "vit lstm gru rnn sequential layers": Gap(
                    "Nearest is a list of layers, under `model:` itself: other short forms there are none."
                ),
            }
        ),
        "Profile": _PROFILE_FIELDS,
        "Schedule": _SCHEDULE,
        "EarlyStopping": _EARLY_STOPPING,
        "Augmentation": _AUGMENTATION,
        "Threads": table(
            {
                "intra_op num_threads intra_op_parallelism_threads threads": Synonym("intra"),
                "inter_op inter_op_parallelism_threads": Synonym("inter"),
            }
        ),
        "Claim": table(
            {
                "name": Synonym("metric"),
                "score result number": Synonym("value"),
                "upper max high": Synonym("to"),
                "tolerance std error margin": Gap(
                    "Nearest are half_width, how wide our own interval may be, and to, the upper end of a range."
                ),
            }
        ),
        "Anomaly": table(
            {
                "normal_classes inliers normal_class": Synonym("normal"),
                "threshold percentile contamination": Gap(
                    "Nearest is quantile, of the training images' own errors, above which an image is anomalous."
                ),
            }
        ),
        "Detection": table(
            {
                "size image_size canvas_size": Synonym("canvas"),
                "anchors num_boxes nms iou_threshold": Gap(
                    "Leave it out: there is one object to an image, and one box."
                ),
            }
        ),
        "WordEmbedding": table(
            {
                "window_size context context_size": Synonym("window"),
                "negative num_negatives negative_samples num_sampled": Synonym("negatives"),
                "min_count vocab_size sample": Gap("Leave it out: the vocabulary is the data set's."),
            }
        ),
        "Mlp": table(
            {
                "units hidden_units hidden_layers hidden_sizes layers hidden_layer_sizes": Synonym("hidden"),
                "num_classes outputs output out_features": Synonym("classes"),
                "act nonlinearity": Synonym("activation"),
                "dropout_rate p": Synonym("dropout"),
                "batch_normalization bn norm": Synonym("batch_norm", "Its value is a mapping, {} for defaults."),
            }
        ),
        "Resnet": table(
            {
                "num_classes outputs output": Synonym("classes"),
                "layers depths stages": Synonym("blocks"),
                "filters channels base_width": Synonym("width"),
                "depth": Gap("Nearest is blocks: [3, 4, 6, 3] is ResNet-50, and all have bottlenecks."),
                "eps": Synonym("epsilon"),
                "bias": Synonym("use_bias"),
                "kernel_initializer": Synonym("kernel_init"),
            }
        ),
        **PART_FIELDS,
    }
)
"""By the name of the model that a part is read into; ``layer`` and ``optimizer`` are of all of their kind."""


def fields_of(title: str, kind: str) -> tuple[Table, ...]:
    """The tables for a part read into the model ``title``, of the ``kind`` layer or optimizer if it is one."""
    return FIELDS.get(title, _EMPTY), FIELDS.get(kind, _EMPTY)


_RATES = "Keras' SGD takes 0.01 where none is stated, PyTorch's 0.001; here each spec states its own."
_RISES = "A rate that is divided by 10 has the factor 0.1. None rises: the suite has no warm-up, and only steps down."
ADVICE: Mapping[tuple[str, str, str], str] = MappingProxyType(
    {
        ("Sgd", "learning_rate", "missing"): _RATES,
        ("Schedule", "factor", "less_than"): _RISES,
        ("Dropout", "rate", "less_than"): "It is the share of values that are zeroed, as a fraction: 0.5 for 50 %.",
        ("Mlp", "dropout", "less_than"): "It is the share of values that are zeroed, as a fraction: 0.5 for 50 %.",
    }
)
"""What else to say where a field of a model is missing or beyond its bounds, by pydantic's name for that."""
