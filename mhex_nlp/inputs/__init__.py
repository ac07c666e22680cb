# SPDX-License-Identifier: Apache-2.0
"""What is given to a model, cut into pieces whose places in the source are known. Knows no model."""
