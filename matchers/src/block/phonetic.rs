//! Soundex, the key under which misspelt names meet.

/// American Soundex (National Archives rules) of the letters of a folded text, at most four characters; empty for none.
/// `rphonetic`'s soundex is the oracle in the tests.
pub fn soundex(text: &str) -> String {
    let letters = text.bytes().filter(u8::is_ascii_lowercase);
    let mut code = String::with_capacity(4);
    let mut previous = b'0';
    for letter in letters {
        let digit = match letter {
            b'b' | b'f' | b'p' | b'v' => b'1',
            b'c' | b'g' | b'j' | b'k' | b'q' | b's' | b'x' | b'z' => b'2',
            b'd' | b't' => b'3',
            b'l' => b'4',
            b'm' | b'n' => b'5',
            b'r' => b'6',
            b'h' | b'w' => b'h',
            _ => b'0',
        };
        if code.is_empty() {
            code.push(letter.to_ascii_uppercase() as char);
        } else if digit != b'0' && digit != b'h' && digit != previous {
            code.push(digit as char);
        }
        if digit != b'h' {
            previous = digit;
        }
        if code.len() == 4 {
            break;
        }
    }
    code
}
