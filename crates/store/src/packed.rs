//! Long bodies are packed (DEFLATE): a VM's definition holds its XML once more for each of its recovery points, so it packs to
//! a tenth and less. What does not begin with the mark was written by an older version and is plain.

use miniz_oxide::{deflate::compress_to_vec, inflate::decompress_to_vec_with_limit};

/// The first byte of what is packed. No JSON begins with it.
const MARK: u8 = 1;
/// A balance: higher levels take several times as long for some percent.
const LEVEL: u8 = 4;
/// No body is longer than this, whatever a damaged row says.
const LONGEST: usize = 64 * 1024 * 1024;

pub(crate) fn pack(body: &str) -> Vec<u8> {
    let mut packed = vec![MARK];
    packed.extend(compress_to_vec(body.as_bytes(), LEVEL));
    packed
}

/// The body; the error is that of a column which can't be read.
pub(crate) fn unpack(stored: &[u8]) -> Result<String, sqlx::Error> {
    let bytes = match stored.split_first() {
        Some((&MARK, packed)) => {
            decompress_to_vec_with_limit(packed, LONGEST).map_err(|error| unreadable(error.to_string()))?
        }
        _ => stored.to_vec(),
    };
    String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))
}

fn unreadable(why: String) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: "body".to_owned(), source: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again_and_what_is_plain_stays() {
        let record = "<domainsnapshot><name>ms-1</name><domain type='kvm'><name>web-1</name></domain></domainsnapshot>";
        let body = format!("{{\"xml\":\"{}\"}}", record.repeat(100));
        let packed = pack(&body);
        assert!(packed.len() * 20 < body.len(), "{} of {}", packed.len(), body.len());
        assert_eq!(unpack(&packed).unwrap(), body);
        assert_eq!(unpack(body.as_bytes()).unwrap(), body);
        assert!(unpack(&packed[..packed.len() / 2]).is_err(), "damage is an error");
    }
}
