"""Encoders, decoders, the auxiliary prior and the delta-VAE itself.

Importing this package registers their classes, as `keras.models.load_model` needs.
"""

from deltavae_tf.models import auxiliary_prior as auxiliary_prior
from deltavae_tf.models import delta_vae as delta_vae
from deltavae_tf.models import image_decoder as image_decoder
from deltavae_tf.models import image_encoder as image_encoder
from deltavae_tf.models import text_decoder as text_decoder
from deltavae_tf.models import text_encoder as text_encoder
from deltavae_tf.models import text_vae as text_vae
