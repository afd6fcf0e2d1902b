//! A text as a bag of its words, for models of captions.

/// Counts of a text's words over `dim` hashed places, scaled to length 1; zeros for a text without words. Words are runs of
/// letters and digits, in lower case, without their order.
pub fn bag_of_words(text: &str, dim: usize) -> Vec<f32> {
    let mut bag = vec![0.0f32; dim];
    for word in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
    {
        bag[(hash(&word.to_lowercase()) % dim.max(1) as u64) as usize] += 1.0;
    }
    let norm = bag.iter().map(|v| v * v).sum::<f32>().sqrt();
    if norm > 0.0 {
        bag.iter_mut().for_each(|v| *v /= norm);
    }
    bag
}

/// Fowler, Noll and Vo's hash (FNV-1a, 64 bits): the same on every machine and in every version.
fn hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_case_and_signs_do_not_matter() {
        let a = bag_of_words("The gripper, touched the HANDLE!", 64);
        assert_eq!(a, bag_of_words("handle touched: the gripper the", 64));
        assert!((a.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(bag_of_words(" ?! ", 8), [0.0; 8]);
        // The published value of the empty text and of "a".
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
