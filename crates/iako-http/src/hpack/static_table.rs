//! The static table (RFC 7541 Appendix A), and how the encoder finds its rows without a hash.

use super::{Pseudo, Token};
use crate::known::Known;

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) token: Token,
    pub(super) name: &'static str,
    pub(super) value: &'static str,
}

/// Number of rows; the dynamic table's indices begin behind them.
pub(super) const ROWS: usize = 61;

const fn pseudo(pseudo: Pseudo, value: &'static str) -> Row {
    Row { token: Token::Pseudo(pseudo), name: pseudo.as_str(), value }
}

const fn known(known: Known) -> Row {
    with_value(known, "")
}

const fn with_value(known: Known, value: &'static str) -> Row {
    Row { token: Token::Known(known), name: known.text(), value }
}

const fn other(name: &'static str) -> Row {
    Row { token: Token::Other, name, value: "" }
}

static TABLE: [Row; ROWS] = [
    pseudo(Pseudo::Authority, ""),
    pseudo(Pseudo::Method, "GET"),
    pseudo(Pseudo::Method, "POST"),
    pseudo(Pseudo::Path, "/"),
    pseudo(Pseudo::Path, "/index.html"),
    pseudo(Pseudo::Scheme, "http"),
    pseudo(Pseudo::Scheme, "https"),
    pseudo(Pseudo::Status, "200"),
    pseudo(Pseudo::Status, "204"),
    pseudo(Pseudo::Status, "206"),
    pseudo(Pseudo::Status, "304"),
    pseudo(Pseudo::Status, "400"),
    pseudo(Pseudo::Status, "404"),
    pseudo(Pseudo::Status, "500"),
    other("accept-charset"),
    with_value(Known::AcceptEncoding, "gzip, deflate"),
    known(Known::AcceptLanguage),
    other("accept-ranges"),
    known(Known::Accept),
    known(Known::AccessControlAllowOrigin),
    known(Known::Age),
    other("allow"),
    known(Known::Authorization),
    known(Known::CacheControl),
    other("content-disposition"),
    known(Known::ContentEncoding),
    other("content-language"),
    known(Known::ContentLength),
    other("content-location"),
    other("content-range"),
    known(Known::ContentType),
    known(Known::Cookie),
    known(Known::Date),
    known(Known::ETag),
    known(Known::Expect),
    known(Known::Expires),
    other("from"),
    known(Known::Host),
    known(Known::IfMatch),
    known(Known::IfModifiedSince),
    known(Known::IfNoneMatch),
    other("if-range"),
    other("if-unmodified-since"),
    known(Known::LastModified),
    other("link"),
    known(Known::Location),
    other("max-forwards"),
    known(Known::ProxyAuthenticate),
    known(Known::ProxyAuthorization),
    known(Known::Range),
    known(Known::Referer),
    other("refresh"),
    known(Known::RetryAfter),
    known(Known::Server),
    known(Known::SetCookie),
    other("strict-transport-security"),
    known(Known::TransferEncoding),
    known(Known::UserAgent),
    known(Known::Vary),
    known(Known::Via),
    known(Known::WwwAuthenticate),
];

/// For each known name the index of its first row; 0 when it has none.
static ROW_OF_KNOWN: [u8; 128] = rows_of_known();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
#[expect(clippy::cast_possible_truncation, reason = "there are 61 rows")]
const fn rows_of_known() -> [u8; 128] {
    let mut rows = [0; 128];
    let mut place = 0;
    while place < ROWS {
        if let Token::Known(known) = TABLE[place].token
            && rows[known as usize] == 0
        {
            rows[known as usize] = place as u8 + 1;
        }
        place += 1;
    }
    rows
}

/// The row of an index, which counts from 1.
pub(super) fn row(index: usize) -> Option<&'static Row> {
    TABLE.get(index.wrapping_sub(1))
}

/// How many insertions before the newest the entry of a dynamic index came; `None` for index 0.
pub(super) fn dynamic_age(index: usize) -> Option<usize> {
    index.checked_sub(ROWS + 1)
}

/// The index of a row with that name.
pub(super) fn index_of_name(token: Token, name: &[u8]) -> Option<usize> {
    let index = match token {
        Token::Known(known) => ROW_OF_KNOWN.get(known as usize).copied().unwrap_or_default(),
        Token::Pseudo(pseudo) => match pseudo {
            Pseudo::Authority => 1,
            Pseudo::Method => 2,
            Pseudo::Path => 4,
            Pseudo::Scheme => 6,
            Pseudo::Status => 8,
            Pseudo::Protocol => 0,
        },
        Token::Other
        | Token::Underscored
        | Token::UpperCase
        | Token::UnknownPseudo
        | Token::Invalid => index_of_other(name),
    };
    (index != 0).then_some(usize::from(index))
}

/// Rows whose names the mesh has no use for otherwise; 0 when there is none.
fn index_of_other(name: &[u8]) -> u8 {
    match name {
        b"accept-charset" => 15,
        b"accept-ranges" => 18,
        b"age" => 21,
        b"allow" => 22,
        b"content-disposition" => 25,
        b"content-language" => 27,
        b"content-location" => 29,
        b"content-range" => 30,
        b"expires" => 36,
        b"from" => 37,
        b"if-match" => 39,
        b"if-modified-since" => 40,
        b"if-none-match" => 41,
        b"if-range" => 42,
        b"if-unmodified-since" => 43,
        b"last-modified" => 44,
        b"link" => 45,
        b"max-forwards" => 47,
        b"refresh" => 52,
        b"strict-transport-security" => 56,
        _ => 0,
    }
}

/// The index of the row with that name and value.
pub(super) fn index_of_field(token: Token, value: &[u8]) -> Option<usize> {
    let index = match token {
        Token::Pseudo(Pseudo::Method) => match value {
            b"GET" => 2,
            b"POST" => 3,
            _ => return None,
        },
        Token::Pseudo(Pseudo::Path) => match value {
            b"/" => 4,
            b"/index.html" => 5,
            _ => return None,
        },
        Token::Pseudo(Pseudo::Scheme) => match value {
            b"http" => 6,
            b"https" => 7,
            _ => return None,
        },
        Token::Pseudo(Pseudo::Status) => match value {
            b"200" => 8,
            b"204" => 9,
            b"206" => 10,
            b"304" => 11,
            b"400" => 12,
            b"404" => 13,
            b"500" => 14,
            _ => return None,
        },
        Token::Known(Known::AcceptEncoding) if value == b"gzip, deflate" => 16,
        // All other rows have no value.
        Token::Known(_) | Token::Pseudo(Pseudo::Authority) if value.is_empty() => {
            return index_of_name(token, b"").filter(|index| *index != 16);
        }
        Token::Known(_)
        | Token::Pseudo(_)
        | Token::Other
        | Token::Underscored
        | Token::UpperCase
        | Token::UnknownPseudo
        | Token::Invalid => return None,
    };
    Some(index)
}
