"""Borrowed vectors: means worked out by hand, the order of the sources, and that only the catalogue lends."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from fsvae.features.embedding_map import cosine, fit_embedding_map, held_out
from fsvae.features.imputed_vectors import ORIGINS, impute_vectors
from fsvae.schema import TRACKS

HALF = float(np.sqrt(0.5))


def facts(*rows: tuple[str | None, str | None, str | None]) -> pl.DataFrame:
    """Tracks as (artist_id, artist_name, album)."""
    data = [
        {"track_id": str(index), "artist_id": artist, "artist_name": name, "album": album}
        for index, (artist, name, album) in enumerate(rows)
    ]
    return pl.DataFrame(data, schema={name: pl.String for name in TRACKS.names if name != "duration_ms"})


def table(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def origins(codes: NDArray[np.int8]) -> list[str]:
    return [ORIGINS[code] for code in codes]


CATALOGUE = table([1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0])
TRAINED = (("a", "Ann", "One"), ("a", "Ann", "One"), ("a", "Ann", "Two"), ("b", "Bob", "One"))


def test_a_track_borrows_from_its_album_else_from_its_artist_else_from_none() -> None:
    tracks = facts(
        *TRAINED,
        ("a", "Ann", "One"),
        ("a", "Ann", "Three"),
        ("a", None, None),
        ("b", "Bob", "Two"),
        ("c", "Cat", "One"),
        (None, None, "One"),
        (None, None, None),
    )
    vectors, origin = impute_vectors(tracks, CATALOGUE)
    assert origins(origin) == ["trained"] * 4 + ["album", "artist", "artist", "artist", "none", "none", "none"]
    third = float(np.sqrt(1 / 3))
    expected = [[HALF, HALF, 0], [third] * 3, [third] * 3, [0, -1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(vectors[:4], CATALOGUE)
    np.testing.assert_allclose(vectors[4:], expected, atol=1e-6)
    assert vectors.dtype == np.float32 and origin.dtype == np.int8


def test_a_name_does_for_an_artist_without_an_id_and_is_no_id() -> None:
    tracks = facts((None, "Ann", None), ("Ann", "Else", None), (None, "Ann", None), ("Ann", None, None))
    vectors, origin = impute_vectors(tracks, table([1, 0], [0, 1]))
    assert origins(origin[2:]) == ["artist", "artist"]
    np.testing.assert_allclose(vectors[2:], [[1, 0], [0, 1]])


def test_an_album_without_an_artist_lends_nothing() -> None:
    """Many albums are called that."""
    _, origin = impute_vectors(facts((None, None, "Greatest hits"), (None, None, "Greatest hits")), table([1, 0]))
    assert origins(origin) == ["trained", "none"]


def test_opposite_tracks_lend_nothing_and_the_next_source_is_asked() -> None:
    tracks = facts(("a", None, "One"), ("a", None, "One"), ("a", None, "Two"), ("a", None, "One"))
    vectors, origin = impute_vectors(tracks, table([1, 0], [-1, 0], [0, 1]))
    assert origins(origin[3:]) == ["artist"]
    np.testing.assert_allclose(vectors[3], [0, 1])


def test_a_catalogue_track_that_was_not_trained_borrows_and_does_not_lend() -> None:
    tracks = facts(("a", None, None), ("a", None, None), ("b", None, None))
    vectors, origin = impute_vectors(tracks, table([1, 0], [np.nan, np.nan], [np.nan, np.nan]))
    assert origins(origin) == ["trained", "artist", "none"]
    np.testing.assert_allclose(vectors, [[1, 0], [1, 0], [0, 0]])


def test_nothing_is_trained() -> None:
    vectors, origin = impute_vectors(facts(("a", None, None)), np.zeros((0, 4), np.float32))
    assert origins(origin) == ["none"] and vectors.tolist() == [[0, 0, 0, 0]]


def test_tracks_that_are_borrowed_for_do_not_change_what_is_borrowed() -> None:
    """The vector of a new track depends on the catalogue alone, however many other new tracks there are."""
    few, _ = impute_vectors(facts(*TRAINED, ("a", None, "One")), CATALOGUE)
    many, _ = impute_vectors(facts(*TRAINED, ("a", None, "One"), *[("a", None, "One")] * 3), CATALOGUE)
    np.testing.assert_array_equal(many[:5], few)


def sounding(
    noise: float, n: int = 300, new: int = 20
) -> tuple[pl.DataFrame, NDArray[np.float32], NDArray[np.float32]]:
    """`n` + `new` tracks of artists with two each; vectors scatter around the artist, embeddings tell them noisily."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=((n + new) // 2, 8)).repeat(2, axis=0)
    vectors = centre + 0.5 * rng.normal(size=centre.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    embeddings = vectors @ rng.normal(size=(8, 12)) + 5 + noise * rng.normal(size=(n + new, 12))
    tracks = facts(*((str(index % ((n + new) // 2)), None, None) for index in range(n + new)))
    order = np.argsort(np.arange(n + new) % 2, kind="stable")  # the artist of track i is that of track i + half, too
    return tracks, vectors[order].astype(np.float32), embeddings[order].astype(np.float32)


def test_embeddings_that_tell_more_than_the_artist_come_first() -> None:
    tracks, vectors, embeddings = sounding(noise=0.0)
    embeddings[310:] = np.nan
    found, origin = impute_vectors(tracks, vectors[:300], embeddings)
    assert origins(origin) == ["trained"] * 300 + ["embedding"] * 10 + ["artist"] * 10
    np.testing.assert_allclose(found[300:310], vectors[300:310], atol=0.01)
    np.testing.assert_allclose(found[310:], vectors[150:160], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_embeddings_that_tell_less_than_the_artist_come_last() -> None:
    tracks, vectors, embeddings = sounding(noise=20.0)
    tracks = tracks.with_columns(pl.when(pl.int_range(pl.len()) < 310).then("artist_id").alias("artist_id"))
    _, origin = impute_vectors(tracks, vectors[:300], embeddings)
    assert origins(origin[300:]) == ["artist"] * 10 + ["embedding"] * 10


@pytest.mark.filterwarnings("error")
def test_without_artists_embeddings_are_used_whatever_they_are_worth() -> None:
    tracks, vectors, embeddings = sounding(noise=20.0)
    _, origin = impute_vectors(
        tracks.with_columns(pl.lit(None, pl.String).alias("artist_id")), vectors[:300], embeddings
    )
    assert origins(origin[300:]) == ["embedding"] * 20


def test_too_few_embeddings_are_left_alone() -> None:
    tracks, vectors, embeddings = sounding(noise=0.0)
    embeddings[49:300] = np.nan
    _, origin = impute_vectors(tracks, vectors[:300], embeddings)
    assert origins(origin[300:]) == ["artist"] * 20
    embeddings[49] = 0.0
    assert "embedding" in origins(impute_vectors(tracks, vectors[:300], embeddings)[1])


def test_the_map_is_exact_where_it_is_linear() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(200, 6)).astype(np.float32)
    linear = (embeddings @ rng.normal(size=(6, 4)) + 1).astype(np.float32)
    exact, likeness = fit_embedding_map(embeddings, linear)
    np.testing.assert_allclose(exact(embeddings), linear, atol=1e-2)
    assert likeness.shape == (40,) and likeness.min() > 0.999


def test_the_penalty_is_chosen_so_that_noise_is_not_learned() -> None:
    """150 dimensions, of which 4 tell something, and 160 tracks: least squares would learn the noise of the others."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(200, 150)).astype(np.float32)
    vectors = (embeddings[:, :4] + 0.5 * rng.normal(size=(200, 4))).astype(np.float32)
    fitted, likeness = fit_embedding_map(embeddings, vectors)
    held = held_out(200)
    least_squares = embeddings[held] @ np.linalg.lstsq(embeddings[~held], vectors[~held])[0]
    assert likeness.mean() > cosine(least_squares, vectors[held]).mean() + 0.2

    new = rng.normal(size=(2_000, 150)).astype(np.float32)
    assert likeness.mean() == pytest.approx(cosine(fitted(new), new[:, :4]).mean(), abs=0.1)


def test_ridge_by_hand() -> None:
    """One dimension, centred: x = y = ±1, ten of them; the weight is 10 / (10 + penalty), the penalty 0.0001 * 10."""
    x = np.tile(table([1], [-1]), (5, 1))
    fitted, likeness = fit_embedding_map(x + 3, x)
    assert fitted(table([3], [4])) == pytest.approx(np.array([[0], [1 / (1 + 1e-4)]]))
    assert likeness.tolist() == pytest.approx([1, 1])


def test_each_fifth_track_is_held_out() -> None:
    assert np.flatnonzero(held_out(12)).tolist() == [4, 9]
