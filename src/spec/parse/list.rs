//! Lists of processors and memory nodes, cpuset(7): `0-3,7`.

/// The numbers of a list, sorted, each once; `limit` is the first number that is too high.
///
/// # Errors
/// What is wrong with the text, without the text.
pub fn number_list(text: &str, limit: u32) -> Result<Vec<u32>, String> {
    let mut ranges = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = (number(first, limit)?, number(last, limit)?);
        if range.0 > range.1 {
            return Err(format!("range {first}-{last} runs backwards"));
        }
        ranges.push(range);
    }
    // Merged before they are written out: a long list of wide ranges must not cost their product.
    ranges.sort_unstable();
    let mut numbers = Vec::new();
    let mut next = 0;
    for (first, last) in ranges {
        numbers.extend(first.max(next)..=last);
        next = next.max(last + 1);
    }
    Ok(numbers)
}

fn number(text: &str, limit: u32) -> Result<u32, String> {
    let text = text.trim();
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match number {
        Some(number) if number < limit => Ok(number),
        Some(number) => Err(format!("{number} is beyond {}", limit - 1)),
        None => Err("expected a list of numbers and ranges such as 0-3,7".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_out_sorted_and_once() {
        for (text, expected) in [
            ("0", vec![0]),
            ("0-3,7", vec![0, 1, 2, 3, 7]),
            ("7,0-2,1-3", vec![0, 1, 2, 3, 7]),
            (" 1 - 2 , 2 \n", vec![1, 2]),
            ("5,5,5-5", vec![5]),
        ] {
            assert_eq!(number_list(text, 8), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "a", "1-", "-1", "1,,2", "3-1", "8", "0-8", "+1", "1-2-3", "99999999999"] {
            assert!(number_list(text, 8).is_err(), "{text}");
        }
    }

    #[test]
    fn many_wide_ranges_cost_no_more_than_one() {
        let text = vec!["0-8191"; 100_000].join(",");
        assert_eq!(number_list(&text, 8192).unwrap().len(), 8192);
    }
}
