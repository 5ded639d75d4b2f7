import numpy as np
from absl.testing import absltest

from deltavae_tf import units


class UnitsTest(absltest.TestCase):
    def test_bits_and_nats(self):
        self.assertAlmostEqual(units.bits(np.log(8)), 3)
        self.assertAlmostEqual(units.nats(3), np.log(8))

    def test_bits_per_dim_of_a_flat_image(self):
        """Each of 32 * 32 * 3 numbers is one of 256: 8 bits per dimension."""
        flat = np.array([3072 * np.log(256), 0.0])
        np.testing.assert_allclose(units.bits_per_dim(flat, 3072), [8, 0])
        np.testing.assert_allclose(
            units.nats_from_bits_per_dim(np.array([8.0, 0.0]), 3072), flat
        )


if __name__ == "__main__":
    absltest.main()
