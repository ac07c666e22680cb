# SPDX-License-Identifier: Apache-2.0
"""What maps of images are worth: planted patterns, chest X-rays, a real network, accuracy with heads, and cost."""
