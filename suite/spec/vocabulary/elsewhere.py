"""Tasks, targets, metrics, data sets, runners, modes and devices that the suite calls otherwise, or has not."""

from __future__ import annotations

from suite.spec.vocabulary.words import Gap, Synonym, table

_OWN = "Bring it as a file of your own arrays, `dataset: npz:PATH`."
_NO_RUNNER = "Nearest are torch, tf and jax: it has no runner in this suite, so nothing can be said of it."

TASKS = table(
    {
        "image_classification multiclass multiclass_classification": Synonym("classification"),
        "binary binary_classification": Gap(
            "Nearest is classification of two classes: two outputs and softmax_cross_entropy, not one and a sigmoid."
        ),
        "multi_label multilabel_classification tagging": Gap(
            "Nearest is classification, one class to an image; labels (n,) cannot name several."
        ),
        "regression": Gap("Nearest is reconstruction, of the image itself: no label is a number to be met."),
        "autoencoder autoencoding": Synonym("reconstruction"),
        "vae gan diffusion generation generative denoising super_resolution": Gap(
            "Nearest is reconstruction: the image itself as an autoencoder gives it back."
        ),
        "anomaly_detection outlier outlier_detection novelty_detection one_class": Synonym("anomaly"),
        "object_detection localization localisation": Synonym(
            "detection", "There is one object to an image, on a canvas."
        ),
        "segmentation semantic_segmentation instance_segmentation keypoint pose depth": Gap(
            "Nearest is detection, a class and one box to an image; no target says something of each pixel."
        ),
        "word2vec cbow word_embedding": Synonym("embedding", "It is a continuous bag of words."),
        "skipgram glove fasttext": Gap("Nearest is embedding, a continuous bag of words: a word from its context."),
        "language_model language_modeling translation summarization seq2seq text_classification sentiment ner": Gap(
            "Nearest is embedding, a word from the words around it; no model goes through a text in order."
        ),
        "forecasting time_series ranking recommendation clustering contrastive reinforcement rl metric_learning": Gap(
            "Nearest is classification: a class to each image."
        ),
    }
)

TARGETS = table(
    {
        "label class classes index indices sparse integer int": Synonym("labels"),
        "categorical one_hot_labels": Synonym("one_hot"),
        "inputs image images self x": Synonym("input"),
        "box bbox bboxes bounding_boxes": Synonym("boxes"),
        "regression value values number": Gap("Nearest is input, the image itself: no label is a number to be met."),
        "multi_hot soft soft_labels probabilities mask masks": Gap(
            "Nearest is one_hot, one class to an image and nothing between 0 and 1."
        ),
    }
)

MONITORS = table(
    {
        "val_loss": Synonym("validation_loss"),
        "val_accuracy val_acc val_categorical_accuracy val_sparse_categorical_accuracy validation_acc": Synonym(
            "validation_accuracy"
        ),
        "loss train_loss training_loss accuracy acc train_accuracy train_acc": Gap(
            "Nearest are validation_loss and validation_accuracy: it is the validation split that is watched."
        ),
        "test_loss test_accuracy test_acc": Gap(
            "Nearest are validation_loss and validation_accuracy: the test split decides nothing in training."
        ),
        "val_auc val_f1 auc f1 val_precision val_recall lr": Gap(
            "Nearest is validation_accuracy: no other metric is taken after each epoch."
        ),
    }
)

METRICS = table(
    {
        "accuracy acc test_acc top1 top1_accuracy": Synonym("test_accuracy", "It is a fraction of 1."),
        "loss": Synonym("test_loss"),
        "val_accuracy val_acc validation_acc": Synonym("validation_accuracy"),
        "val_loss": Synonym("validation_loss"),
        "train_acc training_accuracy": Synonym("train_accuracy"),
        "training_loss": Synonym("train_loss"),
        "error test_error error_rate": Gap("Nearest is test_accuracy, which is 1 - the error."),
        "top5 top5_accuracy top_k": Gap("Nearest is test_accuracy, of the first guess alone."),
        "epoch_time time_per_epoch sec_per_epoch": Synonym("seconds_per_epoch"),
        "time training_time train_time wall_time": Synonym("train_seconds"),
        "epochs epochs_trained early_stopped_at": Synonym("stopped_at_epoch"),
        "f1 f1_score precision recall auc auroc roc_auc map iou miou perplexity bleu psnr ssim r2 mae rmse kappa "
        "mcc": Gap("Nearest is test_accuracy: the report shows such figures, but no claim on them is judged."),
        "throughput images_per_second samples_per_second latency inference_time memory flops params": Gap(
            "Nearest is seconds_per_epoch: published times are shown and never judged."
        ),
    }
)

DATASETS = table(
    {
        "mnist_784 mnist-original keras-mnist torchvision-mnist": Synonym("mnist"),
        "fashion fmnist": Synonym("fashion-mnist"),
        "load_digits sklearn-digits optdigits": Synonym("digits", "These are scikit-learn's, of 8 x 8 pixels."),
        "cifar": Gap("There are two of this name: cifar10 and cifar100."),
        "bible king_james kjv_bible": Synonym("kjv"),
        "kmnist emnist qmnist kuzushiji_mnist kuzushiji notmnist mnist1d mnist_c moving_mnist extended_mnist usps svhn "
        "svhn_cropped omniglot": Gap(f"Nearest is mnist, of the same kind of image but other ones. {_OWN}"),
        "imagenet imagenet2012 ilsvrc imagenette imagewoof tiny_imagenet imagenet_resized imagenet64 stl10 cinic10 "
        "cifar10_1 cifar10_corrupted cifar10c caltech101 caltech256 celeba lsun places365 food101 flowers102 "
        "oxford_flowers102 oxford_iiit_pet stanford_cars stanford_dogs fgvc_aircraft dtd eurosat gtsrb sun397 "
        "cats_vs_dogs cub200 inaturalist lfw coco voc voc2007 voc2012 pascal_voc cityscapes open_images": Gap(
            f"Nearest are cifar10 and cifar100, colour images of 32 x 32 pixels. {_OWN}"
        ),
        "medmnist pathmnist chestmnist dermamnist octmnist pneumoniamnist retinamnist breastmnist bloodmnist "
        "tissuemnist organamnist organcmnist organsmnist": Gap(
            f"Nearest are mnist and cifar10, images of other things. {_OWN}"
        ),
        "imdb reuters text8 wikitext wikitext2 wikitext103 ptb penn_treebank ag_news sst2 glue squad shakespeare "
        "tiny_shakespeare": Gap("Nearest are kjv and tales, texts for word embeddings: no other text can be brought."),
        "iris wine breast_cancer diabetes california_housing boston_housing titanic adult covtype higgs moons blobs "
        "circles spirals": Gap(
            f"Nearest is digits: no data set is a table, unless as images (n, 1, 1, features). {_OWN}"
        ),
        "random synthetic fake fake_data dummy": Gap(f"Nearest is digits, which needs no download. {_OWN}"),
        "speech_commands gtzan librispeech esc50 audioset ucf101 kinetics har": Gap(f"Nothing is near. {_OWN}"),
        "custom own imagefolder folder csv numpy npz": Gap(f"{_OWN}"),
    }
)

RUNNERS = table(
    {
        "pytorch libtorch": Synonym("torch"),
        "tensorflow tf1 tf2 tensorflow2": Synonym("tf", "It is TensorFlow's core, not Keras."),
        "numpy np": Synonym("reference"),
        "keras": Gap("Nearest is tf, TensorFlow's core: Keras is a program of its own, with other costs and defaults."),
        "flax optax haiku equinox": Gap("Nearest is jax, which is JAX itself without a package on top of it."),
        "mxnet gluon theano pytensor aesara caffe caffe2 cntk chainer paddle paddlepaddle mindspore tinygrad mlx "
        "oneflow flux sklearn scikit_learn onnx onnxruntime tensorrt openvino tflite coreml lightning "
        "pytorch_lightning ignite fastai deepspeed burn candle": Gap(_NO_RUNNER),
        "baseline empty": Synonym("null", "It computes nothing and shows what the instrument costs."),
    }
)

MODES = table(
    {
        "torchscript script trace tracing dynamo inductor torch_compile compiled": Gap(
            "Nearest are torch's compile, which is torch.compile, tf's graph and xla, and jax's jit."
        ),
        "jit_compile xla_jit": Synonym("xla"),
        "function tf_function autograph": Synonym("graph"),
        "tf1 session_run placeholder": Synonym("session"),
        "imperative dynamic": Synonym("eager"),
        "tutorial out_of_the_box default": Synonym("quickstart", "It does what the framework's own tutorial does."),
        "fit keras train_on_batch run_eagerly": Gap("Nearest is tf's graph: no mode goes through Keras."),
        "cuda_graph cudagraphs onnx tensorrt export aot aoti": Gap("Nearest are the modes that compile."),
        "amp mixed_precision fp16 bf16 half": Gap(
            "A mode is how a program runs, not its precision: that is the profile's `precisions`."
        ),
    }
)

DEVICES = table(
    {
        "gpu nvidia cuda0 cuda1 gpu0 gpu1": Synonym("cuda", "It is the first GPU that the process sees."),
        "processor host x86": Synonym("cpu"),
        "mps metal rocm hip amd xpu tpu npu ipu hpu neuron directml opencl vulkan": Gap(
            "Nearest is cuda: the suite computes on processors and on NVIDIA's GPUs."
        ),
        "auto default any": Gap("Name one: a run compares on one device."),
    }
)

INFERENCE_OPTIONS = table(
    {
        "bf16 brain_float": Synonym("bfloat16"),
        "nhwc": Synonym("channels_last"),
        "nchw": Synonym("channels_first"),
        "fp16 float16 half amp mixed_precision": Gap("Nearest is bfloat16, of the same size with a shorter fraction."),
        "int8 quantize quantized quantization dynamic_quantization static_quantization ptq qat int4 fp8": Gap(
            "Nearest are int8_dynamic, which measures each input's range, and int8_static, which learns ranges before."
        ),
        "compile jit eager graph xla session": Gap("It is a mode, and as an inference option it is written mode:NAME."),
        "batch_size batches": Gap("It is written batch:N."),
        "onednn mkldnn threads num_threads cudnn_benchmark tf32 pruning distillation fuse fusion": Gap(
            "Nearest are the memory formats, channels_last and channels_first."
        ),
    }
)
