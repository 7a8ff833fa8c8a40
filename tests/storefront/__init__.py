import pytest

pytest.register_assert_rewrite("tests.storefront.journey")  # so that a failure in it shows both sides
