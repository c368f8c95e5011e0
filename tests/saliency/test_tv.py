"""Total variation and bilateral total variation against loops and closed forms."""

import math

import pytest
import torch

from xray_debug.saliency.tv import bilateral_total_variation, edge_weights, total_variation


def looped(mask, image, beta, sigma):
    """Equation 7 entry by entry: mean over vertical neighbours plus mean over horizontal ones."""
    height, width = mask.shape
    totals = []
    for dy, dx in ((1, 0), (0, 1)):
        terms = []
        for y in range(height - dy):
            for x in range(width - dx):
                weight = 1.0
                if image is not None:
                    change = [float(c[y + dy, x + dx] - c[y, x]) ** 2 for c in image]
                    weight = math.exp(-sum(change) / len(change) / sigma)
                terms.append(weight * abs(float(mask[y + dy, x + dx] - mask[y, x])) ** beta)
        totals.append(sum(terms) / len(terms))
    return sum(totals)


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_loops_agree(beta):
    draws = torch.Generator().manual_seed(1)
    masks = torch.rand(2, 6, 9, generator=draws, dtype=torch.float64)
    images = torch.rand(2, 3, 6, 9, generator=draws, dtype=torch.float64) * 0.2
    plain = total_variation(masks, beta)
    bilateral = bilateral_total_variation(masks, edge_weights(images, 0.02, "code", 1.0), beta)
    for row in range(2):
        assert plain[row].item() == pytest.approx(looped(masks[row], None, beta, 1), rel=1e-12)
        assert bilateral[row].item() == pytest.approx(looped(masks[row], images[row], beta, 0.02), rel=1e-12)


def test_closed_forms():
    assert total_variation(torch.full((1, 5, 5), 0.3)).item() == 0
    # the identity of side n has 2 (n - 1) unit steps in each direction, of n (n - 1) neighbours each
    assert total_variation(torch.eye(10, dtype=torch.float64)).item() == pytest.approx(2 * 2 * 9 / 90)
    ramp = torch.linspace(0, 1, 5, dtype=torch.float64).expand(1, 4, 5)
    assert total_variation(ramp).item() == pytest.approx(0.25**2)


def test_flat_image_makes_it_plain_and_an_edge_makes_the_step_free():
    mask = torch.zeros(1, 6, 6, dtype=torch.float64)
    mask[:, :, 3:] = 1
    flat = torch.full((1, 2, 6, 6), 0.4, dtype=torch.float64)
    weights = edge_weights(flat, scale=1.0)
    assert bilateral_total_variation(mask, weights).item() == pytest.approx(total_variation(mask).item())
    edge = flat.clone()
    edge[..., 3:] = 1.4
    weights = edge_weights(edge, form="code", scale=1.0)
    assert bilateral_total_variation(mask, weights).item() == pytest.approx(math.exp(-100) * 0.2)


def test_rows_and_columns_are_treated_alike():
    draws = torch.Generator().manual_seed(2)
    mask, image = torch.rand(1, 7, 5, generator=draws), torch.rand(1, 3, 7, 5, generator=draws)
    turned = bilateral_total_variation(mask.mT, edge_weights(image.mT, 0.1))
    assert torch.allclose(bilateral_total_variation(mask, edge_weights(image, 0.1)), turned, rtol=1e-6)
    assert torch.allclose(total_variation(mask), total_variation(mask.mT))


def test_the_papers_weight_has_sigma_squared_in_units_of_the_images_spread():
    """exp(-dI^2 / sigma^2) at dI = sigma is 1/e; the code's form is nearer to 1; scaled images weigh the same."""
    image = torch.zeros(1, 1, 1, 8, dtype=torch.float64)
    image[..., 4:] = 0.01
    assert edge_weights(image, scale=1.0)[1][0, 0, 3].item() == pytest.approx(math.exp(-1))
    assert edge_weights(image, form="code", scale=1.0)[1][0, 0, 3].item() == pytest.approx(math.exp(-0.01))
    # two levels a and b half and half: the standard deviation is |a - b| / 2, so dI is 2 whatever they are
    assert edge_weights(image, sigma=2.0)[1][0, 0, 3].item() == pytest.approx(math.exp(-1))
    draws = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for one, other in zip(edge_weights(draws, 0.3), edge_weights(4 * draws - 1, 0.3), strict=True):
        assert torch.allclose(one, other)
    assert (edge_weights(torch.full((1, 1, 4, 4), 0.3))[0] == 1).all()


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (1, 1)])
def test_a_row_or_column_of_one_pixel_has_no_neighbours_across_it(shape):
    draws = torch.Generator().manual_seed(3)
    mask, image = (torch.rand(1, *lead, *shape, generator=draws, dtype=torch.float64) for lead in ((), (2,)))
    steps = mask.flatten().diff().square()
    expected = steps.mean().item() if len(steps) else 0.0
    assert total_variation(mask).item() == pytest.approx(expected)
    weights = edge_weights(image, 0.5)
    edges = torch.exp(-(image.flatten(2).diff() / image.std(correction=0)).square().mean(1).flatten() / 0.25)
    expected = (edges * steps).mean().item() if len(steps) else 0.0
    assert bilateral_total_variation(mask, weights).item() == pytest.approx(expected)
