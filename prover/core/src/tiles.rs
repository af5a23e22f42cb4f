//! Tiles: how a log lies in files (C2SP tlog-tiles).

use crate::tree::Hash;

/// A tile has so many hashes, a bundle so many entries.
pub const TILE: u64 = 256;

/// The path of the `n`th tile of a level, or of a bundle where `level` is `entries`. `width` is how many
/// it has where it is not whole yet.
///
/// ```
/// use watertight_prover_core::tile_path;
/// assert_eq!(tile_path("0", 5, None), "tile/0/005");
/// assert_eq!(tile_path("entries", 1_234_067, Some(17)), "tile/entries/x001/x234/067.p/17");
/// ```
pub fn tile_path(level: &str, n: u64, width: Option<u64>) -> String {
    let mut path = format!("{:03}", n % 1_000);
    let mut rest = n / 1_000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1_000);
        rest /= 1_000;
    }
    let part = width.map(|width| format!(".p/{width}"));
    format!("tile/{level}/{path}{}", part.unwrap_or_default())
}

/// The entries of a bundle: each with its length in two bytes before it, the higher first. None when
/// it is no bundle.
pub fn entries(bundle: &[u8]) -> Option<Vec<&str>> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (entry, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(std::str::from_utf8(entry).ok()?);
        rest = after;
    }
    Some(entries)
}

/// The hashes of a tile. None when it is no tile.
pub fn hashes_of(tile: &[u8]) -> Option<Vec<Hash>> {
    tile.chunks(32).map(|hash| hash.try_into().ok()).collect()
}
