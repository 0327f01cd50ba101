//! Many independent questions at once. The answers come in the order of the questions, so how many processors there
//! are changes nothing but the time it takes.

use std::thread;

/// Fewer questions than this are not worth a thread.
const FEW: usize = 1024;

/// Answers each question.
pub(crate) fn answers<Q: Sync, A: Send>(questions: &[Q], answer: impl Fn(&Q) -> A + Sync) -> Vec<A> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if processors == 1 || questions.len() < FEW {
        return questions.iter().map(answer).collect();
    }
    let answer = &answer;
    thread::scope(|scope| {
        let share = questions.len().div_ceil(processors);
        let workers: Vec<_> = questions
            .chunks(share)
            .map(|some| scope.spawn(move || some.iter().map(answer).collect::<Vec<A>>()))
            .collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Vec<A>>| match worker.join() {
            Ok(answers) => answers,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().flat_map(join).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_their_questions() {
        for count in [0, 1, FEW - 1, FEW, 10_000] {
            let questions: Vec<usize> = (0..count).collect();
            let doubled: Vec<usize> = (0..count).map(|n| n * 2).collect();
            assert_eq!(answers(&questions, |n| n * 2), doubled);
        }
    }
}
