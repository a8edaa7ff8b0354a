//! How the connections that a host allows are shared among the transfers from it. Pure: what each of them needs in, a
//! number out. All reckon with the same needs and so come to the same shares: nobody has to be asked, and what one has
//! no use for is the others'.

use crate::memory::share::Need;

/// How many connections `mine` may have of a `budget` for all: as many as it has use for, or else as many as everybody
/// else may who has use for more. Each may have what it keeps in any case, and one.
pub fn share(budget: u32, mine: Need, others: &[Need]) -> u32 {
    let all = |level| others.iter().chain([&mine]).map(|need| u64::from(at(*need, level))).sum::<u64>();
    let level = (1..=budget).rev().find(|level| all(*level) <= u64::from(budget)).unwrap_or(1);
    at(mine, level)
}

/// What is given to a need where everybody may have `level`.
fn at(need: Need, level: u32) -> u32 {
    level.min(need.most).max(need.least).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn need(least: u32, most: u32) -> Need {
        Need { least, most, open: 0 }
    }

    #[test]
    fn equal_parts_of_what_the_modest_leave() {
        assert_eq!(share(16, need(1, 16), &[]), 16);
        assert_eq!(share(16, need(1, 16), &[need(1, 16)]), 8);
        assert_eq!(share(16, need(1, 16), &[need(1, 4)]), 12);
        assert_eq!(share(16, need(1, 4), &[need(1, 16)]), 4);
        assert_eq!(share(16, need(1, 16), &[need(1, 1), need(1, 16), need(1, 4)]), 5);
        assert_eq!(share(16, need(1, 16), &[need(1, 16); 40]), 1, "one each, however many they are");
    }

    #[test]
    fn what_the_user_has_fixed_is_kept_and_counted() {
        assert_eq!(share(16, need(12, 12), &[need(1, 16)]), 12);
        assert_eq!(share(16, need(1, 16), &[need(12, 12)]), 4);
        assert_eq!(share(16, need(1, 16), &[need(64, 64)]), 1);
        assert_eq!(share(3, need(12, 12), &[]), 12);
    }

    proptest! {
        #[test]
        fn together_they_keep_to_the_budget_and_waste_little(
            budget in 1u32..=16,
            needs in prop::collection::vec((1u32..=3, 1u32..=64), 1..12),
        ) {
            let needs: Vec<Need> = needs.iter().map(|(least, most)| need(*least, *most.max(least))).collect();
            let shares: Vec<u32> = (0..needs.len())
                .map(|mine| {
                    let others = [&needs[..mine], &needs[mine + 1..]].concat();
                    share(budget, needs[mine], &others)
                })
                .collect();
            let (sum, least) = (shares.iter().sum::<u32>(), needs.iter().map(|need| need.least).sum::<u32>());
            prop_assert!(sum <= budget.max(least), "{shares:?}");
            let starved = needs.iter().zip(&shares).filter(|(need, share)| need.most > **share).count() as u32;
            prop_assert!(starved == 0 || sum + starved > budget, "{shares:?} leave what {starved} have use for");
            for (mine, share) in needs.iter().zip(&shares) {
                prop_assert!((mine.least..=mine.most).contains(share));
                for (other, its) in needs.iter().zip(&shares) {
                    prop_assert!(its <= share || *share == mine.most || *its == other.least, "{shares:?}");
                }
            }
        }
    }
}
