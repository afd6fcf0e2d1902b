use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

use super::*;

fn clips(n: usize) -> Vec<ClipId> {
    (0..n)
        .map(|episode| ClipId {
            dataset: "play".into(),
            episode,
            start: 0,
            end: 4,
        })
        .collect()
}

fn plan(count: usize) -> Plan {
    Plan {
        mode: Mode::Pairs,
        count,
        seed: 7,
        user: "ana".into(),
        annotator: "page".into(),
        context: None,
    }
}

fn open(path: &Path, plan: Plan, n: usize) -> Questions {
    Questions::new(plan, clips(n), vec![], PreferenceStore::open(path).unwrap()).unwrap()
}

fn asked(next: Next) -> Question {
    match next {
        Next::Ask(question) => question,
        other => panic!("no question: {other:?}"),
    }
}

/// Clips of a record, in no order.
fn key(record: &Preference) -> Vec<usize> {
    let mut key: Vec<usize> = record.choice.clips().iter().map(|c| c.episode).collect();
    key.sort_unstable();
    key
}

fn first() -> Answer {
    Answer::Order(vec![0, 1])
}

#[test]
fn many_tabs_at_once_lose_no_answer_and_ask_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefs.jsonl");
    let questions = Mutex::new(open(&path, plan(150), 40));
    let open_now = Mutex::new(HashSet::new());
    let said = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for tab in 0..6 {
            let (questions, open_now, said) = (&questions, &open_now, &said);
            scope.spawn(move || {
                let tab = format!("tab {tab}");
                loop {
                    let next = questions.lock().unwrap().next(&tab, None);
                    let question = match next {
                        Next::Ask(question) => question,
                        Next::Wait => {
                            std::thread::yield_now();
                            continue;
                        }
                        Next::Done => break,
                        Next::Exhausted => panic!("780 pairs cannot run out"),
                    };
                    assert!(
                        open_now.lock().unwrap().insert(question.key()),
                        "{question} is on show in two tabs or was before"
                    );
                    std::thread::yield_now();
                    let outcome = questions.lock().unwrap().answer(&tab, &question, &first());
                    assert_eq!(outcome.unwrap(), Outcome::Saved);
                    said.lock().unwrap().push(question.key());
                }
            });
        }
    });
    let mut said = said.into_inner().unwrap();
    assert_eq!(said.len(), 150, "as many as were wanted, not one more");
    drop(questions);
    let mut kept: Vec<Vec<usize>> = PreferenceStore::read(&path)
        .unwrap()
        .iter()
        .map(key)
        .collect();
    said.sort_unstable();
    kept.sort_unstable();
    assert_eq!(said, kept);
    kept.dedup();
    assert_eq!(kept.len(), 150);
}

#[test]
fn an_answer_that_is_sent_twice_is_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefs.jsonl");
    let mut questions = open(&path, plan(9), 8);
    let question = asked(questions.next("a", None));
    assert_eq!(
        questions.answer("a", &question, &first()).unwrap(),
        Outcome::Saved
    );
    for answer in [first(), Answer::Equal, Answer::Skip] {
        assert_eq!(
            questions.answer("a", &question, &answer).unwrap(),
            Outcome::Already
        );
        let turned = Question(question.0.iter().rev().copied().collect());
        assert_eq!(
            questions.answer("b", &turned, &answer).unwrap(),
            Outcome::Already
        );
    }
    assert_eq!(questions.answered(), 1);
    // One that was asked before a restart is accepted after it.
    let open_in_a_tab = asked(questions.next("a", None));
    drop(questions);
    let mut questions = open(&path, plan(9), 8);
    assert_eq!(
        questions.answer("new", &open_in_a_tab, &first()).unwrap(),
        Outcome::Saved
    );
    assert_eq!(questions.answered(), 2);
}

#[test]
fn a_session_that_ended_anywhere_goes_on_as_if_it_had_not() {
    let sequence = |ends: &[usize]| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prefs.jsonl");
        let mut questions = open(&path, plan(30), 12);
        let mut seen = Vec::new();
        for n in 0..30 {
            let mut question = asked(questions.next("tab", None));
            if ends.contains(&n) {
                drop(questions);
                questions = open(&path, plan(30), 12);
                question = asked(questions.next("another", None));
                questions.release("another");
                assert_eq!(asked(questions.next("tab", None)), question);
            }
            seen.push(question.to_string());
            let answer = match n % 4 {
                0 => Answer::Equal,
                _ => Answer::Order(vec![n % 2, 1 - n % 2]),
            };
            questions.answer("tab", &question, &answer).unwrap();
        }
        assert_eq!(questions.next("tab", None), Next::Done);
        seen
    };
    let whole = sequence(&[]);
    assert_eq!(sequence(&[0, 1, 7, 8, 20, 29]), whole);
    assert_eq!(whole.iter().collect::<HashSet<_>>().len(), 30);
}

#[test]
fn every_pair_of_a_small_dataset_is_asked_once_and_then_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefs.jsonl");
    let mut questions = open(&path, plan(100), 5);
    let mut seen = HashSet::new();
    for _ in 0..9 {
        let question = asked(questions.next("a", None));
        assert!(seen.insert(question.key()));
        questions.answer("a", &question, &first()).unwrap();
    }
    let last = asked(questions.next("a", None));
    assert!(seen.insert(last.key()));
    assert_eq!(
        questions.next("b", None),
        Next::Wait,
        "the last one is open in another tab"
    );
    questions.release("a");
    assert_eq!(
        asked(questions.next("b", None)),
        last,
        "and free when that goes away"
    );
    questions.answer("b", &last, &Answer::Skip).unwrap();
    assert_eq!(questions.next("a", None), Next::Exhausted);
    assert_eq!((questions.answered(), questions.skipped()), (9, 1));
    drop(questions);
    let mut questions = open(&path, plan(100), 5);
    assert_eq!(
        questions.next("a", None),
        Next::Exhausted,
        "a skipped question stays skipped"
    );
    // Another person, and another situation, are asked everything anew.
    drop(questions);
    let bob = Plan {
        user: "bob".into(),
        ..plan(100)
    };
    let near = Plan {
        context: Some("near people".into()),
        ..plan(100)
    };
    for other in [bob, near] {
        let mut questions = open(&path, other, 5);
        assert_eq!((questions.answered(), questions.skipped()), (0, 0));
        asked(questions.next("a", None));
    }
}

#[test]
fn undo_takes_the_tabs_own_last_answer_back_and_asks_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefs.jsonl");
    let mut questions = open(&path, plan(20), 10);
    assert!(!questions.undo("a", None).unwrap(), "nothing to take back");
    let mine = asked(questions.next("a", None));
    questions.answer("a", &mine, &first()).unwrap();
    let theirs = asked(questions.next("b", None));
    questions.answer("b", &theirs, &first()).unwrap();
    let waiting = asked(questions.next("a", None));
    let seen = questions.last("a");
    assert!(questions.undo("a", seen).unwrap());
    assert_eq!(
        asked(questions.next("a", None)),
        mine,
        "its own, arranged as before"
    );
    assert!(
        !questions.undo("a", seen).unwrap(),
        "a request that comes twice does nothing more"
    );
    assert_eq!(questions.answered(), 1);
    questions
        .answer("a", &mine, &Answer::Order(vec![1, 0]))
        .unwrap();
    assert_eq!(
        asked(questions.next("a", None)),
        waiting,
        "what was on show comes back"
    );
    // A skip is taken back like an answer.
    questions.answer("a", &waiting, &Answer::Skip).unwrap();
    assert_eq!(questions.skipped(), 1);
    assert!(questions.undo("a", None).unwrap());
    assert_eq!(
        (questions.skipped(), asked(questions.next("a", None))),
        (0, waiting.clone())
    );
    // What an earlier session wrote can be taken back too.
    drop(questions);
    let mut questions = open(&path, plan(20), 10);
    assert!(questions.undo("c", None).unwrap());
    assert_eq!(asked(questions.next("c", None)).key(), mine.key());
    assert!(questions.undo("c", None).unwrap());
    assert_eq!(asked(questions.next("c", None)).key(), theirs.key());
    assert!(!questions.undo("c", None).unwrap());
    drop(questions);
    assert!(PreferenceStore::read(&path).unwrap().is_empty());
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text.lines().count(),
        8,
        "four written, four taken back: {text}"
    );
}

#[test]
fn what_was_liked_is_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let triplets = Plan {
        mode: Mode::Triplets,
        context: Some("gentle".into()),
        ..plan(9)
    };
    let mut questions = open(&dir.path().join("3.jsonl"), triplets, 6);
    let question = asked(questions.next("a", None));
    assert_eq!(question.0.len(), 3);
    questions
        .answer("a", &question, &Answer::Order(vec![2, 0, 1]))
        .unwrap();
    let record = questions.store.records()[0].clone();
    assert_eq!(
        (record.user.as_str(), record.context.as_deref()),
        ("ana", Some("gentle"))
    );
    let episode = |place: usize| clips(6)[question.0[place]].clone();
    let expected = Choice::Triplet {
        best: episode(2),
        middle: episode(0),
        worst: episode(1),
    };
    assert_eq!(record.choice, expected);
    assert_eq!(questions.comparisons().len(), 3);
    for bad in [vec![0, 1], vec![0, 1, 1], vec![0, 1, 3], vec![]] {
        assert!(
            questions
                .answer("a", &Question(vec![0, 1, 2]), &Answer::Order(bad))
                .is_err()
        );
    }
    assert!(
        questions
            .answer("a", &Question(vec![0, 0, 1]), &Answer::Equal)
            .is_err()
    );
    assert!(
        questions
            .answer("a", &Question(vec![0, 1, 6]), &Answer::Equal)
            .is_err()
    );
    assert_eq!(questions.answered(), 1);

    // With demonstrations, one heads every ranking, and does not count as asked about.
    let head = ClipId {
        dataset: "demos".into(),
        ..clips(1)[0].clone()
    };
    let path = dir.path().join("2.jsonl");
    let new = || {
        let store = PreferenceStore::open(&path).unwrap();
        Questions::new(plan(9), clips(6), vec![head.clone()], store).unwrap()
    };
    let mut questions = new();
    let question = asked(questions.next("a", None));
    questions
        .answer("a", &question, &Answer::Order(vec![1, 0]))
        .unwrap();
    let [a, b] = [question.0[0], question.0[1]].map(|i| clips(6)[i].clone());
    let expected = Choice::Rank {
        clips: vec![head.clone(), b, a],
    };
    assert_eq!(questions.store.records()[0].choice, expected);
    assert_eq!(questions.comparisons().len(), 1);
    drop(questions);
    let mut questions = new();
    assert_eq!(
        questions.answer("b", &question, &first()).unwrap(),
        Outcome::Already
    );
}

#[test]
fn the_model_is_asked_where_it_is_unsure() {
    let dir = tempfile::tempdir().unwrap();
    let mut questions = open(&dir.path().join("prefs.jsonl"), plan(60), 40);
    // Each clip's place in a row of forty is all there is to see.
    let features: Vec<_> = (0..40)
        .map(|i| Some(vec![i as f32 / 40.0, (i % 7) as f32 / 7.0]))
        .collect();
    let points = crate::prefer::belief::Points::new(&features);
    let mut chosen = 0.0;
    let mut uniform = 0.0;
    for n in 0..40 {
        let question = asked(questions.next("a", None));
        if let Some(belief) = questions.belief().cloned() {
            chosen += belief.disagreement(&question.0);
            let mut rng = ChaCha8Rng::seed_from_u64(n);
            uniform += belief.disagreement(&sample(&clips(40), 2, &mut rng));
        }
        let order = if question.0[0] > question.0[1] {
            vec![0, 1]
        } else {
            vec![1, 0]
        };
        questions
            .answer("a", &question, &Answer::Order(order))
            .unwrap();
        if let Some(belief) = Belief::fit(&points, &questions.comparisons(), 0) {
            questions.believe(Arc::new(belief));
        }
    }
    assert!(chosen > 1.5 * uniform, "{chosen} {uniform}");
    assert!(questions.belief().unwrap().accuracy.unwrap() > 0.6);
}
