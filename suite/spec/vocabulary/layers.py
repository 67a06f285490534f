"""Layers of Keras, PyTorch, JAX's libraries and ONNX that the suite calls otherwise, or has not."""

from __future__ import annotations

from suite.spec.vocabulary.words import Gap, Synonym, table

_RELU = "Nearest is relu, which is 0 below 0 and x above;"
_WEIGHING = (
    "Nothing is near: no layer lets positions weigh one another. A dense layer over a flattened input mixes them by "
    "weights that do not depend on the input."
)
_LARGER = "Nothing is near: no layer makes an image larger. A dense layer can, at a weight for each pair of values."
_AUGMENTATION = "What the suite changes at random in training images is the spec's field augmentation: crop and flip."
_RANGE = "Nearest is the spec's field input_range, one linear map of all pixels onto [low, high]."
_MEMORY = (
    "No layer goes through a sequence step by step. Nearest is a dense layer over the flattened sequence, which has "
    "weights of its own for each step."
)
_VOLUME = "Nothing is near: an image has a height, a width and channels, and no third axis."
_LINE = "Nearest is {} over images of height 1, which does the same: data of shape (n, 1, length, channels),"
_WRITTEN_OUT = "Short forms are mlp and resnet; other networks are written out as a list of layers."

LAYERS = table(
    {
        # The same by another name.
        "linear lazylinear fully_connected matmul fc inner_product gemm affine": Synonym(
            "dense",
            "It takes units, the outputs; the inputs follow from the layer before. PyTorch starts kernel and bias as "
            "kernel_init and bias_init fan_in_uniform do.",
        ),
        "conv convolution convolution2d lazyconv2d": Synonym("conv2d", "It takes filters, kernel and stride."),
        "batch_normalization batchnorm1d batchnorm2d lazybatchnorm1d lazybatchnorm2d bn": Synonym(
            "batch_norm",
            "Its momentum is the share of the old value that is kept, 1 - momentum in PyTorch; Keras' defaults are "
            "momentum 0.99 and epsilon 0.001.",
        ),
        "max_pooling2d maxpool2d max_pooling": Synonym("max_pool", "It takes window and stride."),
        "average_pooling2d averagepool2d avg_pool2d avg_pool average_pooling mean_pool": Synonym(
            "average_pool",
            "It takes window and stride; padding counts if `count_padding: true` says so, PyTorch's default.",
        ),
        "global_average_pooling2d globalavgpool2d global_avg_pool global_average_pooling gap gap2d": Synonym(
            "global_average_pool"
        ),
        "rectifier rectified_linear": Synonym("relu"),
        "logistic expit": Synonym("sigmoid"),
        "hyperbolic_tangent": Synonym("tanh"),
        "softmax2d": Synonym("softmax", "It is over the last axis, which in an image holds the channels."),
        "ravel": Synonym("flatten"),
        "embedding_bag": Synonym("embedding", "It is the mean of the tokens' rows, as under the mode mean."),
        # Activations.
        "gelu": Gap(f"{_RELU} gelu is x times the normal distribution's share below x."),
        "silu swish hard_silu hard_swish": Gap(
            f"{_RELU} silu, also called swish, is x * sigmoid(x); the hard one takes a piecewise linear sigmoid."
        ),
        "mish": Gap(f"{_RELU} mish is x * tanh(log(1 + exp(x)))."),
        "elu selu celu": Gap(
            f"{_RELU} elu, selu and celu fall off as an exponential below 0, selu with fixed scales on both sides."
        ),
        "leaky_relu": Gap(f"{_RELU} leaky_relu has a slope below 0 as well, 0.01 in PyTorch and 0.3 in Keras."),
        "prelu rrelu": Gap(f"{_RELU} prelu learns the slope below 0, rrelu draws it in training."),
        "relu6 relu1 clipped_relu": Gap(f"{_RELU} the other is cut off above as well, relu6 at 6."),
        "crelu": Gap(f"{_RELU} crelu gives relu(x) and relu(-x) side by side."),
        "threshold hard_shrink soft_shrink tanh_shrink": Gap(
            f"{_RELU} threshold and the shrinking functions act beyond or around another bound than 0."
        ),
        "softplus squareplus sparse_plus": Gap(f"{_RELU} softplus, log(1 + exp(x)), and its kin are smooth at 0."),
        "exponential exp": Gap("Nearest is softmax, which takes exponentials and divides them by their sum."),
        "softsign": Gap("Nearest is tanh, with the same limits; softsign is x / (1 + |x|)."),
        "hard_tanh": Gap("Nearest is tanh; hard_tanh is x cut off at -1 and 1."),
        "hard_sigmoid sparse_sigmoid": Gap("Nearest is sigmoid; the other is piecewise linear."),
        "log_sigmoid": Gap("Nearest is sigmoid; log_sigmoid is its logarithm. sigmoid_cross_entropy takes logits."),
        "log_softmax": Gap(
            "Leave it out: softmax_cross_entropy takes logits and holds the log of a softmax in itself. Nearest is "
            "softmax, whose logarithm it is."
        ),
        "softmin": Gap("Nearest is softmax; softmin is the softmax of -x."),
        "sparsemax": Gap("Nearest is softmax; sparsemax can give exact zeros."),
        "glu swiglu geglu": Gap(f"{_RELU} glu multiplies one half of the features by a gate made of the other half."),
        "maxout": Gap("Nearest is relu; maxout takes the largest of several linear functions."),
        "activation activations": Gap("Write the function as a layer of its own: `layer: relu`, say."),
        "identity noop passthrough": Gap("Leave it out: it changes nothing. An empty shortcut is the identity."),
        # Normalisation.
        "layer_norm layer_normalization": Gap(
            "Nearest is batch_norm, which takes mean and variance of each channel over the batch; layer_norm takes "
            "them of each example over its features, and does the same in training and in evaluation."
        ),
        "group_norm group_normalization": Gap(
            "Nearest is batch_norm, which takes mean and variance of each channel over the batch; group_norm takes "
            "them of each image over a group of channels, and does the same in training and in evaluation."
        ),
        "instance_norm instance_normalization instancenorm1d instancenorm2d instancenorm3d lazyinstancenorm1d "
        "lazyinstancenorm2d lazyinstancenorm3d": Gap(
            "Nearest is batch_norm, which takes mean and variance of each channel over the batch; instance_norm takes "
            "them of each image by itself."
        ),
        "rms_norm rms_normalization": Gap(
            "Nearest is batch_norm; rms_norm divides each example by the root of its mean square, and takes no mean "
            "away."
        ),
        "local_response_norm local_response_normalization lrn crossmaplrn2d": Gap(
            "Nearest is batch_norm; local response normalisation divides each value by those of neighbouring channels."
        ),
        "weight_norm weight_normalization spectral_norm spectral_normalization unit_norm unit_normalization "
        "weight_standardization": Gap(
            "Nearest is batch_norm, which normalises what a layer gives out; the other normalises weights, or the "
            "length of each example's vector."
        ),
        "batch_renorm batch_renormalization": Gap(
            "Nearest is batch_norm, which normalises a batch by its own statistics; batch renormalisation corrects "
            "them towards the running ones in training."
        ),
        "sync_batch_norm synchronized_batch_normalization ghost_batch_norm": Gap(
            "Nearest is batch_norm over the whole batch: the suite computes on one device, so there is nothing to "
            "synchronise."
        ),
        "batchnorm3d lazybatchnorm3d": Gap(_VOLUME),
        # Convolutions.
        "conv1d convolution1d lazyconv1d": Gap(f"{_LINE.format('conv2d')} kernel: [1, 8], say."),
        "conv3d convolution3d lazyconv3d": Gap(_VOLUME),
        "conv2d_transpose conv_transpose conv_transpose2d convolution2d_transpose deconv deconvolution deconv2d "
        "lazyconvtranspose2d conv1d_transpose conv_transpose1d convolution1d_transpose lazyconvtranspose1d "
        "conv3d_transpose conv_transpose3d convolution3d_transpose lazyconvtranspose3d": Gap(
            f"{_LARGER} A transposed convolution does so by a window's weights alone."
        ),
        "depthwise depthwise_conv2d depthwise_conv depthwise_conv1d separable_conv2d separable_conv "
        "separable_convolution2d separable_conv1d separable_convolution1d grouped_conv2d group_conv": Gap(
            "Nearest is conv2d, each of whose filters sees all channels; a depthwise or grouped one sees some of them, "
            "and a separable one is a depthwise one before a 1x1 conv2d."
        ),
        "locally_connected2d locally_connected1d conv_local": Gap(
            "Nearest is conv2d, which has the same weights at every place; a locally connected layer has others."
        ),
        "dilated_conv2d atrous_conv2d deformable_conv2d": Gap("Nearest is conv2d, whose window has no holes."),
        "bilinear": Gap("Nearest is dense, over one input; bilinear takes two and multiplies them with one another."),
        "bias bias_add add_bias": Gap("A bias belongs to its layer: dense and conv2d have use_bias."),
        "einsum_dense dense_general": Gap("Nearest is dense, over the last and only axis: put a flatten before it."),
        # Pools.
        "maxpool1d maxpooling1d": Gap(f"{_LINE.format('max_pool')} window: [1, 2], say."),
        "averagepool1d averagepooling1d avgpool1d": Gap(f"{_LINE.format('average_pool')} window: [1, 2], say."),
        "maxpool3d maxpooling3d averagepool3d averagepooling3d avgpool3d globalmaxpool3d globalmaxpooling3d "
        "globalaveragepooling3d globalavgpool3d adaptiveaveragepooling3d adaptiveavgpool3d adaptivemaxpooling3d "
        "adaptivemaxpool3d fractionalmaxpool3d lppool3d maxunpool3d": Gap(_VOLUME),
        "globalaveragepooling1d globalavgpool1d": Gap(
            "Nearest is global_average_pool over images of height 1, which does the same: data of shape (n, 1, length, "
            "channels)."
        ),
        "global_max_pool global_max_pool2d global_max_pooling2d global_max_pooling globalmaxpool1d "
        "globalmaxpooling1d": Gap(
            "max_pool with the whole image as its window, and a flatten after it, does the same."
        ),
        "adaptive_avg_pool2d adaptive_average_pooling2d adaptive_avg_pool1d adaptive_average_pooling1d": Gap(
            "To one value for each channel global_average_pool does the same; to more, average_pool where its window "
            "divides the image."
        ),
        "adaptive_max_pool2d adaptive_max_pooling2d adaptive_max_pool1d adaptive_max_pooling1d": Gap(
            "max_pool does the same where its window divides the image."
        ),
        "min_pool": Gap("Nearest is max_pool, which takes the largest value of each window and not the smallest."),
        "sum_pool": Gap("Nearest is average_pool: the sum of a window divided by how many values it holds."),
        "lp_pool lp_pool1d lp_pool2d fractional_max_pool fractional_max_pool2d stochastic_pool spatial_pyramid_pool "
        "max_unpool max_unpool1d max_unpool2d": Gap(
            "Nearest are max_pool and average_pool: the largest value, and the mean, of windows in fixed places."
        ),
        # Sequences and attention.
        "lstm gru rnn simple_rnn bidirectional lstm_cell gru_cell rnn_cell rnn_base rnn_cell_base "
        "simple_rnn_cell stacked_rnn_cells conv_lstm1d conv_lstm2d conv_lstm3d time_distributed masking": Gap(_MEMORY),
        "attention multi_head_attention mha self_attention additive_attention "
        "group_query_attention dot_product_attention transformer transformer_encoder transformer_encoder_layer "
        "transformer_decoder transformer_decoder_layer vit vision_transformer patch_embedding positional_encoding "
        "position_embedding": Gap(_WEIGHING),
        "embed reversible_embedding": Gap(
            "Nearest is embedding, which gives the mean of the tokens' rows, (tokens,) to (units,), and not a row each."
        ),
        # Dropout and noise.
        "spatial_dropout spatial_dropout1d spatial_dropout2d spatial_dropout3d dropout1d dropout2d dropout3d "
        "feature_dropout drop_block": Gap(
            "Nearest is dropout, which zeroes single values; the other zeroes whole channels, or blocks of them."
        ),
        "alpha_dropout feature_alpha_dropout": Gap(
            "Nearest is dropout, which zeroes values; alpha_dropout sets them to selu's lower limit and keeps mean and "
            "variance."
        ),
        "gaussian_dropout gaussian_noise noise": Gap(
            "Nearest is dropout, which zeroes values at random; the other multiplies them by, or adds, normal noise."
        ),
        "drop_path stochastic_depth drop_connect": Gap(
            "Nearest is dropout, which zeroes single values; drop_path leaves out a residual's body for whole images."
        ),
        "activity_regularization": Gap("Nearest is the spec's field l2, on kernels and not on what layers give out."),
        # Joining, shaping.
        "add skip skip_connection shortcut resblock residual_block": Synonym(
            "residual", "It is body(x) + shortcut(x), and an empty shortcut is the identity."
        ),
        "concatenate cat": Synonym("concat", "Its branches take the same input and each end in (features,)."),
        "mlp bottleneck basic_block resnet resnet50 resnet18 resnet34 resnet101 resnet152 vgg vgg16 vgg19 alexnet "
        "lenet lenet5 inception mobilenet efficientnet densenet unet googlenet squeezenet xception wide_resnet": Gap(
            _WRITTEN_OUT
        ),
        "multiply average subtract minimum maximum dot highway squeeze_excite squeeze_excitation "
        "squeeze_and_excitation se_block cosine_similarity pairwise_distance": Gap(
            "Nearest are residual, the sum of two branches, and concat, branches side by side."
        ),
        "reshape permute transpose unflatten view squeeze unsqueeze expand_dims repeat_vector lambda fold unfold "
        "channel_shuffle slice gather module_list": Gap(
            "Nearest is flatten, (h, w, c) to (h * w * c,): no other layer changes the order or the shape of values."
        ),
        "up_sampling1d up_sampling2d up_sampling3d upsample upsampling_nearest2d upsampling_bilinear2d pixel_shuffle "
        "resize resizing interpolate pixel_unshuffle": Gap(_LARGER),
        "zero_padding1d zero_padding2d zero_padding3d zero_pad1d zero_pad2d zero_pad3d pad constant_pad1d "
        "constant_pad2d constant_pad3d reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
        "replication_pad2d replication_pad3d circular_pad1d circular_pad2d circular_pad3d": Gap(
            "Nearest is the field padding of the layer that follows, `padding: [rows, columns]` on either side: zeros "
            "in front of a conv2d, and nothing that counts or wins in a pool."
        ),
        "cropping1d cropping2d cropping3d center_crop": Gap(
            "No layer cuts an image. Crop the arrays of your own data."
        ),
        # What is no layer here.
        "input input_layer input_spec": Gap("Leave it out: the shape of the input is the data set's."),
        "sequential model module module_dict": Gap("Leave it out: the model is a list of layers itself."),
        "rescaling normalization normalize scale": Gap(_RANGE),
        "random_flip random_crop random_rotation random_zoom random_translation random_brightness random_contrast "
        "random_hue random_saturation random_sharpness random_color_jitter random_color_degeneration random_erasing "
        "random_elastic_transform random_gaussian_blur random_grayscale random_invert random_perspective "
        "random_posterization random_shear rand_augment aug_mix auto_contrast cut_mix mix_up cutout solarization "
        "equalization contrast_limited_adaptive_histogram_equalization pipeline": Gap(_AUGMENTATION),
        "softmax_layer output classifier head": Gap("The last layer of a model is a dense one that gives logits."),
        "text_vectorization string_lookup integer_lookup hashing hashed_crossing category_encoding discretization "
        "mel_spectrogram stft_spectrogram max_num_bounding_boxes": Gap(
            "Nothing is near: what prepares data comes before the suite. `dataset: npz:PATH` takes prepared arrays."
        ),
        "custom torch_module_wrapper tfsm_layer flax_layer jax_layer layer wrapper": Gap(
            "A layer means the same in every framework, so one framework's own code cannot be one."
        ),
    }
)

PADDINGS = table(
    {
        "zero zeros constant": Gap("All padding is of zeros. State how much: valid, same, or [rows, columns]."),
        "full": Gap("Nearest is [rows, columns] with one less than the kernel on either side."),
        "causal": Gap("Nearest is [rows, columns], the same on either side; causal pads one side alone."),
        "reflect reflection symmetric replicate replication edge circular wrap": Gap(
            "Nearest is same or [rows, columns], which pad with zeros and not with the image's own values."
        ),
        "same_upper": Synonym("same"),
        "same_lower": Gap("Nearest is same, which puts the larger half of an odd amount at the bottom and the right."),
        "none no": Synonym("valid"),
        "half": Synonym("same"),
    }
)
