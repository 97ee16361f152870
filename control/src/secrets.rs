//! Secrets at rest: vendors' passwords as they stand in a table, encrypted under a key that the table does not hold.
//!
//! The text form is `enc:KEY:BASE64`, where KEY names the key and BASE64 is a random nonce of 12 octets, the
//! ciphertext and the tag of AES-256-GCM. A text without `enc:` is taken as it stands. Used on the control thread
//! and by commands of the program. Must never format a key or a secret, not even in an error.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

/// How an encrypted text begins.
pub const PREFIX: &str = "enc:";

/// Octets of a key.
pub const KEY_BYTES: usize = 32;

/// Octets of a key's name at the most.
const KEY_ID_MAX: usize = 64;

/// Octets of a text to be encrypted at the most; a password has 64 at the most.
const PLAIN_MAX: usize = 4_096;

/// The keys, oldest first: the last one encrypts, every one decrypts.
#[derive(Clone, Default)]
pub struct KeyRing {
    keys: Vec<(String, LessSafeKey)>,
}

/// Why a text cannot be encrypted or decrypted, or keys cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// No key is configured.
    NoKey,
    /// The text names a key that is not there.
    UnknownKey(String),
    /// The text is not `enc:KEY:BASE64`.
    Malformed,
    /// It was encrypted under another key of the same name, or was changed.
    NotAuthentic,
    /// What is decrypted is no UTF-8, or what is to be encrypted is too long.
    Unusable,
    /// The keys' file or variable, with the line counted from 1, and what is wrong.
    Keys(usize, &'static str),
    /// The keys' file cannot be read.
    File(String),
    /// The system gives no random numbers.
    NoRandom,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("no key is configured; set [secrets] key_file"),
            Self::UnknownKey(id) => write!(f, "it was encrypted under the key {id:?}, which is not among the keys"),
            Self::Malformed => f.write_str("it is not of the form enc:KEY:BASE64"),
            Self::NotAuthentic => f.write_str("it was changed, or encrypted under another key of the same name"),
            Self::Unusable => f.write_str("it is no text, or too long"),
            Self::Keys(line, reason) => write!(f, "line {line} {reason}; write NAME:BASE64, the key being 32 octets"),
            Self::File(reason) => f.write_str(reason),
            Self::NoRandom => f.write_str("the system gives no random numbers; see that /dev/urandom can be read"),
        }
    }
}

impl std::error::Error for SecretError {}

impl KeyRing {
    /// The keys' names, oldest first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(name, _)| name.as_str())
    }

    /// Reads lines `NAME:BASE64`, oldest key first; blank lines and those that open with `#` are passed over. Commas
    /// part keys as line ends do, for environment variables.
    ///
    /// # Errors
    /// [`SecretError::Keys`] for the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let mut ring = Self::default();
        for (index, line) in text.split(['\n', ',']).enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason| SecretError::Keys(index + 1, reason);
            let (id, key) = line.split_once(':').ok_or(wrong("has no colon"))?;
            let (id, key) = (id.trim(), key.trim());
            let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
            if id.is_empty() || id.len() > KEY_ID_MAX || !id.bytes().all(is_plain) {
                return Err(wrong("has a name that is not 1 to 64 letters, digits, dots, dashes and underscores"));
            }
            if ring.keys.iter().any(|(known, _)| known == id) {
                return Err(wrong("has a name that is there twice"));
            }
            let octets = STANDARD.decode(key).map_err(|_| wrong("has a key that is no base64"))?;
            let key = UnboundKey::new(&AES_256_GCM, &octets).map_err(|_| wrong("has a key that is not 32 octets"))?;
            ring.keys.push((id.to_owned(), LessSafeKey::new(key)));
        }
        Ok(ring)
    }

    /// [`KeyRing::parse`] of a file.
    ///
    /// # Errors
    /// [`SecretError::File`], [`SecretError::Keys`]; a file without a key is [`SecretError::NoKey`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SecretError::File(format!("{} cannot be read: {error}", path.display())))?;
        let ring = Self::parse(&text)?;
        if ring.keys.is_empty() { Err(SecretError::NoKey) } else { Ok(ring) }
    }

    /// The name of the key that encrypts: the last one.
    pub fn newest(&self) -> Option<&str> {
        self.keys.last().map(|(id, _)| id.as_str())
    }

    /// Encrypts under the newest key.
    ///
    /// # Errors
    /// [`SecretError::NoKey`], [`SecretError::NoRandom`], [`SecretError::Unusable`] beyond 4,096 octets.
    pub fn encrypt(&self, plain: &str) -> Result<String, SecretError> {
        let (id, key) = self.keys.last().ok_or(SecretError::NoKey)?;
        if plain.len() > PLAIN_MAX {
            return Err(SecretError::Unusable);
        }
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SecretError::NoRandom)?;
        let mut sealed = plain.as_bytes().to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(id.as_bytes()), &mut sealed)
            .map_err(|_| SecretError::Unusable)?;
        let octets = [nonce.as_slice(), &sealed].concat();
        Ok(format!("{PREFIX}{id}:{}", STANDARD.encode(octets)))
    }

    /// The secret behind a text; one without `enc:` is the secret itself.
    ///
    /// # Errors
    /// Why it cannot be decrypted.
    pub fn decrypt(&self, text: &str) -> Result<String, SecretError> {
        let Some(rest) = text.strip_prefix(PREFIX) else { return Ok(text.to_owned()) };
        let (id, octets) = rest.split_once(':').ok_or(SecretError::Malformed)?;
        let mut octets = STANDARD.decode(octets.trim()).map_err(|_| SecretError::Malformed)?;
        let (nonce, sealed) = octets.split_first_chunk_mut::<NONCE_LEN>().ok_or(SecretError::Malformed)?;
        if self.keys.is_empty() {
            return Err(SecretError::NoKey);
        }
        let (_, key) = self.keys.iter().find(|(known, _)| known == id).ok_or(SecretError::UnknownKey(id.to_owned()))?;
        let plain = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(id.as_bytes()), sealed)
            .map_err(|_| SecretError::NotAuthentic)?;
        String::from_utf8(plain.to_vec()).map_err(|_| SecretError::Unusable)
    }

    /// Whether a text is encrypted under the newest key, so that a rotation may pass it over.
    pub fn is_newest(&self, text: &str) -> bool {
        let id = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).map(|(id, _)| id);
        id.is_some() && id == self.newest()
    }
}

/// Whether a text is encrypted at all.
pub fn is_encrypted(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(octet: u8) -> String {
        STANDARD.encode([octet; KEY_BYTES])
    }

    fn ring(ids: &[(&str, u8)]) -> KeyRing {
        let lines: Vec<String> = ids.iter().map(|(id, octet)| format!("{id}:{}", key(*octet))).collect();
        KeyRing::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn what_is_encrypted_is_decrypted_and_looks_different_each_time() {
        let ring = ring(&[("2026", 1)]);
        let (one, two) = (ring.encrypt("sécret").unwrap(), ring.encrypt("sécret").unwrap());
        assert!(one.starts_with("enc:2026:") && is_encrypted(&one) && one != two);
        assert_eq!(ring.decrypt(&one).as_deref(), Ok("sécret"));
        assert_eq!(ring.decrypt(&ring.encrypt("").unwrap()).as_deref(), Ok(""));
    }

    #[test]
    fn a_text_without_the_prefix_is_the_secret_itself() {
        assert_eq!(KeyRing::default().decrypt("gateway1").as_deref(), Ok("gateway1"));
    }

    #[test]
    fn the_newest_key_encrypts_and_the_older_ones_still_decrypt() {
        let old = ring(&[("a", 1)]).encrypt("x").unwrap();
        let both = ring(&[("a", 1), ("b", 2)]);
        assert_eq!(both.newest(), Some("b"));
        assert_eq!(both.decrypt(&old).as_deref(), Ok("x"));
        assert!(!both.is_newest(&old) && both.is_newest(&both.encrypt("x").unwrap()) && !both.is_newest("x"));
    }

    #[test]
    fn what_cannot_be_decrypted_says_why_and_shows_nothing() {
        let text = ring(&[("a", 1)]).encrypt("secret12").unwrap();
        assert_eq!(KeyRing::default().decrypt(&text), Err(SecretError::NoKey));
        assert_eq!(ring(&[("b", 1)]).decrypt(&text), Err(SecretError::UnknownKey("a".into())));
        assert_eq!(ring(&[("a", 2)]).decrypt(&text), Err(SecretError::NotAuthentic));
        let renamed = text.replace("enc:a:", "enc:b:");
        assert_eq!(ring(&[("a", 1), ("b", 1)]).decrypt(&renamed), Err(SecretError::NotAuthentic));
        for wrong in ["enc:", "enc:a", "enc:a:", "enc:a:AAAA", "enc:a:*"] {
            assert_eq!(ring(&[("a", 1)]).decrypt(wrong), Err(SecretError::Malformed), "{wrong}");
        }
        assert_eq!(KeyRing::default().encrypt("x"), Err(SecretError::NoKey));
        assert_eq!(ring(&[("a", 1)]).encrypt(&"x".repeat(5_000)), Err(SecretError::Unusable));
    }

    #[test]
    fn keys_are_lines_and_a_wrong_one_is_named() {
        let text = format!("# old\n\na:{}\n b : {} \n", key(1), key(2));
        assert_eq!(KeyRing::parse(&text).unwrap().newest(), Some("b"));
        assert_eq!(KeyRing::parse(&format!("a:{},b:{}", key(1), key(2))).unwrap().newest(), Some("b"));
        for (wrong, line, words) in [
            ("abc".to_owned(), 1, "no colon"),
            (format!("\n:{}", key(1)), 2, "name"),
            (format!("a b:{}", key(1)), 1, "name"),
            (format!("a:{}\na:{}", key(1), key(2)), 2, "twice"),
            ("a:*".to_owned(), 1, "no base64"),
            ("a:c2hvcnQ=".to_owned(), 1, "32 octets"),
        ] {
            let error = KeyRing::parse(&wrong).unwrap_err();
            assert!(error.to_string().starts_with(&format!("line {line} ")), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let shown = format!("{:?}", ring(&[("a", 1)]));
        assert_eq!(shown, "[\"a\"]");
    }

    #[test]
    fn a_file_that_is_not_there_or_empty_is_told() {
        assert!(matches!(KeyRing::read(Path::new("no-such-file")), Err(SecretError::File(_))));
        let path = std::env::temp_dir().join(format!("smpp-keys-{}", std::process::id()));
        std::fs::write(&path, "# none\n").unwrap();
        assert_eq!(KeyRing::read(&path).unwrap_err(), SecretError::NoKey);
        std::fs::remove_file(path).unwrap();
    }
}
