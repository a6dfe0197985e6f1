//! How words that no dictionary has are spelled out, in the alphabet of espeak.

/// A word letter by letter; signs and letters without a name here are left out.
pub(super) fn spelled(word: &str) -> String {
    let names: Vec<&str> = word.chars().filter_map(name).collect();
    names.join(" ")
}

/// What a letter, a figure or a sign is called.
fn name(character: char) -> Option<&'static str> {
    Some(match without_accent(character.to_lowercase().next()?) {
        'a' => "ˈeɪ",
        'b' => "bˈiː",
        'c' => "sˈiː",
        'd' => "dˈiː",
        'e' => "ˈiː",
        'f' => "ˈɛf",
        'g' => "dʒˈiː",
        'h' => "ˈeɪtʃ",
        'i' => "ˈaɪ",
        'j' => "dʒˈeɪ",
        'k' => "kˈeɪ",
        'l' => "ˈɛl",
        'm' => "ˈɛm",
        'n' => "ˈɛn",
        'o' => "ˈoʊ",
        'p' => "pˈiː",
        'q' => "kjˈuː",
        'r' => "ˈɑːɹ",
        's' => "ˈɛs",
        't' => "tˈiː",
        'u' => "jˈuː",
        'v' => "vˈiː",
        'w' => "dˈʌbəljˌuː",
        'x' => "ˈɛks",
        'y' => "wˈaɪ",
        'z' => "zˈiː",
        '0' => "zˈɪɹoʊ",
        '1' => "wˈʌn",
        '2' => "tˈuː",
        '3' => "θɹˈiː",
        '4' => "fˈoːɹ",
        '5' => "fˈaɪv",
        '6' => "sˈɪks",
        '7' => "sˈɛvən",
        '8' => "ˈeɪt",
        '9' => "nˈaɪn",
        '@' => "ˈæt",
        '&' => "ˈænd",
        '+' => "plˈʌs",
        '=' => "ˈiːkwəlz",
        '%' => "pɚsˈɛnt",
        '#' => "hˈæʃ",
        '*' => "stˈɑːɹ",
        '/' => "slˈæʃ",
        '_' => "ˌʌndɚskˈoːɹ",
        '°' => "dᵻɡɹˈiːz",
        _ => return None,
    })
}

/// The letter under an accent of western European languages.
fn without_accent(letter: char) -> char {
    match letter {
        'à'..='å' | 'ā' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ß' => 's',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_figures_and_signs_have_names() {
        assert_eq!(spelled("Xq9"), "ˈɛks kjˈuː nˈaɪn");
        assert_eq!(spelled("é@"), "ˈiː ˈæt");
        let unnamed: Vec<char> = ('a'..='z').chain('0'..='9').filter(|letter| name(*letter).is_none()).collect();
        assert!(unnamed.is_empty(), "{unnamed:?}");
    }

    #[test]
    fn what_has_no_name_is_silent() {
        assert_eq!(spelled("ж-(漢)"), "");
    }
}
