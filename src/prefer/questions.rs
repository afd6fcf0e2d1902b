//! [`Questions`]: which clips are compared next, and what was said about them. No question is asked or recorded twice, whoever
//! asks at the same time, and what was recorded is on disk.

use std::collections::{HashMap, HashSet, VecDeque};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rapport::reward::{Choice, ClipId, Preference, PreferenceStore, Skipped};

use super::belief::{Belief, Comparison};

/// A question that nobody has heard of for so long is given to another tab when no other is left.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Questions drawn for each that is asked, once there is a model to choose between them. B-Pref draws ten for each.
const CANDIDATES: usize = 40;

/// How many clips a question has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Two: one is better, or they are equal.
    Pairs,
    /// Three, which are put in order.
    Triplets,
}

impl Mode {
    /// Clips of a question.
    pub fn clips(self) -> usize {
        match self {
            Self::Pairs => 2,
            Self::Triplets => 3,
        }
    }
}

/// Clips to compare, as indices, in the order in which they are shown. It names itself: `12-57`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question(pub Vec<usize>);

impl Question {
    /// The same for the same clips, however they are arranged.
    fn key(&self) -> Vec<usize> {
        let mut key = self.0.clone();
        key.sort_unstable();
        key
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&words.join("-"))
    }
}

impl FromStr for Question {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let clips = text.split('-').map(str::parse).collect::<Result<_, _>>();
        Ok(Self(clips.with_context(|| {
            format!("`{text}` is not the name of a question")
        })?))
    }
}

/// What a person said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Places in the question, best first.
    Order(Vec<usize>),
    /// All are equally good.
    Equal,
    /// Would rather not say.
    Skip,
}

/// What is asked, of whom, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Two clips or three.
    pub mode: Mode,
    /// Answers in all, earlier sessions included.
    pub count: usize,
    /// Seed of the questions.
    pub seed: u64,
    /// Who answers.
    pub user: String,
    /// How the answer was given; kept with it.
    pub annotator: String,
    /// The situation asked about.
    pub context: Option<String>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A question.
    Ask(Question),
    /// Nothing now: other tabs have the questions that are left.
    Wait,
    /// As many answers as were wanted.
    Done,
    /// Every question was asked.
    Exhausted,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// On disk.
    Saved,
    /// The question had been answered before; nothing was changed.
    Already,
}

struct Lease {
    tab: String,
    question: Question,
    since: Instant,
}

/// The state of asking. One of these is behind a lock for all tabs.
pub struct Questions {
    plan: Plan,
    clips: Vec<ClipId>,
    index: HashMap<ClipId, usize>,
    /// Clips known to be better than any that are asked about; one heads every ranking.
    heads: Vec<ClipId>,
    store: PreferenceStore,
    /// Answered or skipped.
    closed: HashSet<Vec<usize>>,
    leases: Vec<Lease>,
    /// Questions that were shown and given back, next first.
    returned: VecDeque<Question>,
    /// Drawn ahead, so that its clips can be made ready.
    upcoming: Option<Question>,
    /// For a line that was written in this session: the tab it came from, and the question as it was shown.
    written: HashMap<usize, (String, Question)>,
    belief: Option<Arc<Belief>>,
}

impl Questions {
    /// Goes on with what is in `store`. `heads` are clips that are better than every one of `clips`.
    pub fn new(
        plan: Plan,
        clips: Vec<ClipId>,
        heads: Vec<ClipId>,
        store: PreferenceStore,
    ) -> anyhow::Result<Self> {
        ensure!(
            clips.len() >= plan.mode.clips(),
            "there are {} clips; {} are needed to ask",
            clips.len(),
            plan.mode.clips()
        );
        let index = clips.iter().cloned().zip(0..).collect();
        let mut questions = Self {
            plan,
            clips,
            index,
            heads,
            store,
            closed: HashSet::new(),
            leases: Vec::new(),
            returned: VecDeque::new(),
            upcoming: None,
            written: HashMap::new(),
            belief: None,
        };
        questions.closed = questions
            .standing()
            .into_iter()
            .map(|(_, q)| q.key())
            .collect();
        Ok(questions)
    }

    /// What is asked, of whom, and how often.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The clips that questions are about.
    pub fn clips(&self) -> &[ClipId] {
        &self.clips
    }

    /// Answers of this person in this situation that stand.
    pub fn answered(&self) -> usize {
        self.mine().count()
    }

    /// Questions of this mode that this person skipped.
    pub fn skipped(&self) -> usize {
        self.my_skips()
            .filter(|(_, clips)| self.question_of(clips).is_some())
            .count()
    }

    /// The question for a tab: the one it has, else `wanted` if it is free, else another.
    pub fn next(&mut self, tab: &str, wanted: Option<&Question>) -> Next {
        if let Some(lease) = self.leases.iter_mut().find(|l| l.tab == tab) {
            lease.since = Instant::now();
            return Next::Ask(lease.question.clone());
        }
        let answered = self.answered();
        if answered >= self.plan.count {
            return Next::Done;
        }
        // Tabs that went away without a word must not hold up the last questions.
        let mut room = self.plan.count - answered > self.leases.len();
        if !room && self.forget() {
            room = true;
        }
        if !room {
            return Next::Wait;
        }
        let question = wanted
            .filter(|q| self.is_question(q) && !self.is_closed_or_leased(q))
            .cloned()
            .or_else(|| self.take_ready())
            .or_else(|| self.draw())
            .or_else(|| {
                if self.forget() {
                    self.take_ready()
                } else {
                    None
                }
            });
        let Some(question) = question else {
            return if self.leases.is_empty() {
                Next::Exhausted
            } else {
                Next::Wait
            };
        };
        self.returned.retain(|q| *q != question);
        self.lease(tab, question.clone());
        if self
            .upcoming
            .as_ref()
            .is_none_or(|u| self.is_closed_or_leased(u))
        {
            self.upcoming = None;
            self.upcoming = self.draw();
        }
        Next::Ask(question)
    }

    /// The clips that are likely to be shown next.
    pub fn soon(&self) -> Vec<usize> {
        let next = self.returned.front().or(self.upcoming.as_ref());
        next.map(|q| q.0.clone()).unwrap_or_default()
    }

    /// Records an answer. When this returns [`Outcome::Saved`], it is on disk. Fails when the answer does not fit the question, and when
    /// it cannot be written; then nothing has changed.
    pub fn answer(
        &mut self,
        tab: &str,
        question: &Question,
        answer: &Answer,
    ) -> anyhow::Result<Outcome> {
        self.check(question, answer)?;
        if self.closed.contains(&question.key()) {
            self.leases.retain(|l| l.tab != tab);
            return Ok(Outcome::Already);
        }
        match answer {
            Answer::Skip => {
                let clips = question.0.iter().map(|&i| self.clips[i].clone()).collect();
                let mut skip = Skipped::now(clips, &self.plan.user)?;
                skip.context = self.plan.context.clone();
                self.store.skip(skip)?;
            }
            Answer::Equal => {
                let clips = question.0.iter().map(|&i| self.clips[i].clone()).collect();
                self.store.append(self.record(Choice::Equal { clips })?)?;
            }
            Answer::Order(order) => {
                let choice = self.choice(question, order)?;
                self.store.append(self.record(choice)?)?;
            }
        }
        self.closed.insert(question.key());
        self.leases
            .retain(|l| l.tab != tab && l.question.key() != question.key());
        self.returned.retain(|q| q.key() != question.key());
        if let Some((line, _)) = self.standing().last() {
            self.written
                .insert(*line, (tab.to_owned(), question.clone()));
        }
        Ok(Outcome::Saved)
    }

    /// Says what is wrong with an answer to a question, if anything.
    pub fn check(&self, question: &Question, answer: &Answer) -> anyhow::Result<()> {
        ensure!(
            self.is_question(question),
            "{question} is not a question about these clips; load the page again"
        );
        if let Answer::Order(order) = answer {
            let mut places = order.clone();
            places.sort_unstable();
            ensure!(
                places.iter().copied().eq(0..question.0.len()),
                "an order names each of {} clips once",
                question.0.len()
            );
        }
        Ok(())
    }

    /// The line that [`Questions::undo`] would take back for a tab: its own last one, else the last of an earlier session.
    pub fn last(&self, tab: &str) -> Option<usize> {
        let is_mine = |line: &usize| self.written.get(line).is_none_or(|(t, _)| t == tab);
        self.standing()
            .into_iter()
            .rev()
            .map(|(line, _)| line)
            .find(is_mine)
    }

    /// Takes the last answer or skip of a tab back and gives the tab its question again. `last` is the line that the person saw as the
    /// last one; when that is no longer so, nothing happens. Returns whether something was taken back.
    pub fn undo(&mut self, tab: &str, last: Option<usize>) -> anyhow::Result<bool> {
        let Some(line) = self.last(tab) else {
            return Ok(false);
        };
        if last.is_some_and(|seen| seen != line) {
            return Ok(false);
        }
        let question = self.standing().into_iter().find(|(l, _)| *l == line);
        let Some((_, question)) = question else {
            return Ok(false);
        };
        self.store.retract(line, &self.plan.user)?;
        let question = self
            .written
            .remove(&line)
            .map_or(question, |(_, shown)| shown);
        self.closed.remove(&question.key());
        if let Some(at) = self.leases.iter().position(|l| l.tab == tab) {
            let lease = self.leases.remove(at);
            self.returned.push_front(lease.question);
        }
        self.lease(tab, question);
        Ok(true)
    }

    /// A tab goes away: its question is free again.
    pub fn release(&mut self, tab: &str) {
        if let Some(at) = self.leases.iter().position(|l| l.tab == tab) {
            let lease = self.leases.remove(at);
            self.returned.push_front(lease.question);
        }
    }

    /// A model to choose questions with from now on.
    pub fn believe(&mut self, belief: Arc<Belief>) {
        self.belief = Some(belief);
    }

    /// The model, once there is one.
    pub fn belief(&self) -> Option<&Arc<Belief>> {
        self.belief.as_ref()
    }

    /// What a model can learn from the answers that stand: every pair in each order.
    pub fn comparisons(&self) -> Vec<Comparison> {
        let mut all = Vec::new();
        for (answer, (_, record)) in self.mine().enumerate() {
            let clips: Vec<usize> = record
                .choice
                .clips()
                .into_iter()
                .filter_map(|c| self.index.get(c).copied())
                .collect();
            let label = match record.choice {
                Choice::Equal { .. } => 0.5,
                _ => 1.0,
            };
            for i in 0..clips.len() {
                for &worse in &clips[i + 1..] {
                    all.push(Comparison {
                        better: clips[i],
                        worse,
                        label,
                        answer,
                    });
                }
            }
        }
        all
    }

    fn record(&self, choice: Choice) -> anyhow::Result<Preference> {
        let mut record = Preference::now(choice, &self.plan.user, &self.plan.annotator)?;
        record.context = self.plan.context.clone();
        Ok(record)
    }

    fn choice(&self, question: &Question, order: &[usize]) -> anyhow::Result<Choice> {
        let ranked = order
            .iter()
            .map(|&place| self.clips[question.0[place]].clone());
        if !self.heads.is_empty() {
            let mut rng = ChaCha8Rng::seed_from_u64(self.plan.seed);
            rng.set_stream(u64::MAX - self.store.records().len() as u64);
            let head = self.heads[rng.random_range(0..self.heads.len())].clone();
            return Ok(Choice::Rank {
                clips: std::iter::once(head).chain(ranked).collect(),
            });
        }
        let ranked: Vec<ClipId> = ranked.collect();
        Ok(match ranked.as_slice() {
            [better, worse] => Choice::Pair {
                better: better.clone(),
                worse: worse.clone(),
            },
            [best, middle, worst] => Choice::Triplet {
                best: best.clone(),
                middle: middle.clone(),
                worst: worst.clone(),
            },
            _ => bail!("a question has two or three clips"),
        })
    }

    /// This person's comparisons in this situation. What was said about one clip alone is something else.
    fn mine(&self) -> impl DoubleEndedIterator<Item = (usize, &Preference)> {
        self.store.numbered().filter(|(_, r)| {
            r.user == self.plan.user && r.context == self.plan.context && r.choice.clips().len() > 1
        })
    }

    fn my_skips(&self) -> impl DoubleEndedIterator<Item = (usize, Vec<&ClipId>)> {
        self.store
            .skips()
            .filter(|(_, s)| s.user == self.plan.user && s.context == self.plan.context)
            .map(|(line, s)| (line, s.clips.iter().collect()))
    }

    /// Lines of this person's answers and skips that are about questions of this plan, in the order of the file.
    fn standing(&self) -> Vec<(usize, Question)> {
        let answers = self
            .mine()
            .map(|(line, record)| (line, record.choice.clips()));
        let mut lines: Vec<(usize, Question)> = answers
            .chain(self.my_skips())
            .filter_map(|(line, clips)| Some((line, self.question_of(&clips)?)))
            .collect();
        lines.sort_unstable_by_key(|(line, _)| *line);
        lines
    }

    /// The question that clips of the store were an answer to, if it can be asked here.
    fn question_of(&self, clips: &[&ClipId]) -> Option<Question> {
        let n = self.plan.mode.clips();
        let headed = clips.len() == n + 1 && self.heads.contains(clips[0]);
        let clips = if headed { &clips[1..] } else { clips };
        let found: Vec<usize> = clips
            .iter()
            .filter_map(|c| self.index.get(*c).copied())
            .collect();
        (clips.len() == n && found.len() == n).then(|| self.arranged(found))
    }

    /// Clips in an order that depends on nothing but the seed, so that what was liked is not always on the same side.
    fn arranged(&self, clips: Vec<usize>) -> Question {
        let mut question = Question(clips);
        question.0.sort_unstable();
        let mut rng = ChaCha8Rng::seed_from_u64(self.plan.seed);
        let name = question
            .0
            .iter()
            .fold(0, |name, &c| name * 1_000_003 + c as u64);
        rng.set_stream((1 << 63) | name);
        question.0.shuffle(&mut rng);
        question
    }

    fn is_question(&self, question: &Question) -> bool {
        let key = question.key();
        key.len() == self.plan.mode.clips()
            && key.windows(2).all(|w| w[0] < w[1])
            && key.iter().all(|&c| c < self.clips.len())
    }

    fn is_closed_or_leased(&self, question: &Question) -> bool {
        let key = question.key();
        self.closed.contains(&key) || self.leases.iter().any(|l| l.question.key() == key)
    }

    /// Neither asked, nor waiting to be.
    fn is_new(&self, question: &Question) -> bool {
        let key = question.key();
        !self.is_closed_or_leased(question)
            && self
                .returned
                .iter()
                .chain(&self.upcoming)
                .all(|q| q.key() != key)
    }

    fn lease(&mut self, tab: &str, question: Question) {
        self.leases.push(Lease {
            tab: tab.to_owned(),
            question,
            since: Instant::now(),
        });
    }

    /// Frees the question that nobody has heard of for longest, if that is long enough.
    fn forget(&mut self) -> bool {
        let oldest = self.leases.iter().min_by_key(|l| l.since);
        let Some(tab) = oldest
            .filter(|l| l.since.elapsed() > FORGOTTEN)
            .map(|l| l.tab.clone())
        else {
            return false;
        };
        self.release(&tab);
        true
    }

    fn take_ready(&mut self) -> Option<Question> {
        while let Some(question) = self.returned.pop_front() {
            if !self.is_closed_or_leased(&question) {
                return Some(question);
            }
        }
        self.upcoming
            .take()
            .filter(|q| !self.is_closed_or_leased(q))
    }

    /// A question that was never asked: at random, and with a model the one of many random ones on which its members disagree most.
    /// The chance depends on the seed and on how many questions were closed or are open, so a session that was killed goes on alike.
    fn draw(&self) -> Option<Question> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.plan.seed);
        let opened = self.closed.len() + self.leases.len() + self.returned.len();
        rng.set_stream(opened as u64);
        let mut best: Option<(f64, Question)> = None;
        let wanted = if self.belief.is_some() { CANDIDATES } else { 1 };
        let mut found = 0;
        for _ in 0..wanted + 100 {
            let question = Question(sample(&self.clips, self.plan.mode.clips(), &mut rng));
            if !self.is_new(&question) {
                continue;
            }
            let belief = self.belief.as_ref();
            let interest = belief.map_or(0.0, |b| b.disagreement(&question.0));
            if best.as_ref().is_none_or(|(most, _)| interest > *most) {
                best = Some((interest, question));
            }
            found += 1;
            if found == wanted {
                break;
            }
        }
        best.map(|(_, question)| question)
            .or_else(|| self.any_new())
    }

    /// The first question in the order of the clips that was never asked, for when chance finds none.
    fn any_new(&self) -> Option<Question> {
        let n = self.clips.len();
        let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| vec![a, b]));
        let mut new = |clips: Vec<usize>| {
            let question = self.arranged(clips);
            self.is_new(&question).then_some(question)
        };
        match self.plan.mode {
            Mode::Pairs => pairs.into_iter().find_map(new),
            Mode::Triplets => pairs
                .flat_map(|ab| (ab[1] + 1..n).map(move |c| vec![ab[0], ab[1], c]))
                .find_map(&mut new),
        }
    }
}

/// Some different clips in random order, of different episodes where there are that many.
pub fn sample(clips: &[ClipId], wanted: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let first = rng.random_range(0..clips.len());
    let mut chosen = vec![first];
    let mut attempt = 0;
    while chosen.len() < wanted.min(clips.len()) {
        let next = rng.random_range(0..clips.len());
        let apart = chosen
            .iter()
            .all(|&c| clips[c].episode != clips[next].episode);
        if !chosen.contains(&next) && (apart || attempt > 50) {
            chosen.push(next);
        }
        attempt += 1;
    }
    chosen.shuffle(rng);
    chosen
}

#[cfg(test)]
#[path = "questions_tests.rs"]
mod tests;
