//! The machine, walked: every state with every event, every situation of a small world, and long random lives against the
//! definitions of the states.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::{Event, Facts, Phase, State, state};

const START: Event = Event::SessionStarted { resume: true };
const END: Event = Event::SessionEnded { wrap_up: false };
const LEAVE: Event = Event::AgentLeft { wrap_up: false };
const CLOSE: Event = Event::CloseRequested { wrap_up: false };

/// Sessions, agents, agents who wrap up, whether one ever was.
fn open(sessions: u32, agents: u32, wrapping_up: u32, ever_agent: bool) -> Facts {
    Facts { sessions, agents, wrapping_up, ever_agent, ..Facts::EMPTY }
}

/// Facts of each state: those before the last session or agent goes, and others.
fn situations() -> BTreeMap<State, Vec<Facts>> {
    let closing = Facts { phase: Phase::Closing, ..Facts::EMPTY };
    BTreeMap::from([
        (State::Created, vec![open(1, 0, 0, false), open(2, 0, 0, false)]),
        (State::Active, vec![open(1, 1, 0, true), open(2, 2, 1, true)]),
        (State::Inactive, vec![open(1, 0, 0, true), open(2, 0, 1, true)]),
        (State::WrapUp, vec![open(0, 0, 1, true), open(0, 1, 2, true)]),
        (State::CustomerLeft, vec![open(0, 0, 0, false), open(0, 1, 0, true)]),
        (State::Closing, vec![closing]),
        (State::Closed, vec![Facts { phase: Phase::Closed, ..closing }]),
    ])
}

#[test]
fn every_pair_of_state_and_event_follows_the_table() {
    use State::{Active, Closed, Closing, Created, CustomerLeft, Inactive, WrapUp};
    let events = [
        START,
        END,
        Event::AgentJoined,
        LEAVE,
        Event::WrapUpEnded,
        Event::AllGone,
        CLOSE,
        Event::ForceClose,
        Event::HousekeepingDone,
    ];
    // One row for each situation, in the order of `situations`; `None` is a blank.
    let (no, to) = (None, Some);
    let table: BTreeMap<State, Vec<[Option<State>; 9]>> = BTreeMap::from([
        (
            Created,
            vec![
                [to(Created), to(CustomerLeft), to(Active), no, no, no, to(Closing), to(Closing), no],
                [to(Created), to(Created), to(Active), no, no, no, to(Closing), to(Closing), no],
            ],
        ),
        (
            Active,
            vec![
                [to(Active), to(CustomerLeft), to(Active), to(Inactive), no, no, to(Closing), to(Closing), no],
                [to(Active), to(Active), to(Active), to(Active), to(Active), no, to(WrapUp), to(Closing), no],
            ],
        ),
        (
            Inactive,
            vec![
                [to(Inactive), to(CustomerLeft), to(Active), no, no, no, to(Closing), to(Closing), no],
                [to(Inactive), to(Inactive), to(Active), no, to(Inactive), no, to(WrapUp), to(Closing), no],
            ],
        ),
        (
            WrapUp,
            vec![
                [to(Active), no, no, no, to(CustomerLeft), no, to(WrapUp), to(Closing), no],
                [to(Active), no, no, no, to(WrapUp), no, to(WrapUp), to(Closing), no],
            ],
        ),
        (
            CustomerLeft,
            vec![
                [to(Created), no, no, no, no, to(Closing), to(Closing), to(Closing), no],
                [to(Active), no, no, to(CustomerLeft), no, no, to(Closing), to(Closing), no],
            ],
        ),
        (Closing, vec![[no, no, no, no, no, no, no, no, to(Closed)]]),
        (Closed, vec![[no; 9]]),
    ]);
    for (from, situations) in situations() {
        for (facts, row) in situations.iter().zip(&table[&from]) {
            assert_eq!(state(facts), from, "{facts:?}");
            for (event, expected) in events.iter().zip(row) {
                let after = facts.after(*event);
                assert_eq!(after.as_ref().map(state), *expected, "{from} {facts:?} on {event:?}");
            }
        }
    }
    assert_eq!(table.len(), State::ALL.len());
}

#[test]
fn a_wrap_up_concludes_before_the_conversation_ends() {
    let talking = open(1, 1, 0, true);
    let left = talking.after(Event::SessionEnded { wrap_up: true }).unwrap();
    assert_eq!(state(&left), State::WrapUp);
    assert_eq!(state(&left.after(Event::SessionStarted { resume: false }).unwrap()), State::Inactive);
    assert_eq!(left.after(START), Some(talking), "the same agent goes on");
    let asked = talking.after(Event::CloseRequested { wrap_up: true }).unwrap();
    assert_eq!(state(&asked), State::WrapUp);
    let concluded = asked.after(Event::WrapUpEnded).unwrap();
    assert_eq!(concluded.after(Event::AllGone).map(|f| state(&f)), Some(State::Closing));
}

#[test]
fn what_is_owed_keeps_a_conversation_from_closing_and_force_cancels_it() {
    for facts in situations().into_values().flatten().filter(|f| f.phase == Phase::Open) {
        let owing = facts.after(Event::ObligationBegan).unwrap();
        assert_eq!(state(&owing), state(&facts), "an obligation changes no state");
        assert_eq!(owing.after(CLOSE), None);
        assert_eq!(owing.after(Event::AllGone), None);
        assert_eq!(owing.after(Event::ForceClose).map(|f| (state(&f), f.obligations)), Some((State::Closing, 0)));
        assert_eq!(owing.after(Event::ObligationEnded), Some(facts));
    }
}

/// At most two sessions, two agents (in or concluding) and two obligations.
fn small(facts: &Facts) -> bool {
    facts.sessions <= 2 && facts.agents + facts.wrapping_up <= 2 && facts.obligations <= 2
}

fn events(wrap_ups: bool) -> Vec<Event> {
    let mut all = vec![
        START,
        Event::SessionStarted { resume: false },
        END,
        Event::AgentJoined,
        LEAVE,
        Event::WrapUpEnded,
        Event::ObligationBegan,
        Event::ObligationEnded,
        Event::AllGone,
        CLOSE,
        Event::ForceClose,
        Event::HousekeepingDone,
    ];
    if wrap_ups {
        all.push(Event::SessionEnded { wrap_up: true });
        all.push(Event::AgentLeft { wrap_up: true });
        all.push(Event::CloseRequested { wrap_up: true });
    }
    all
}

fn reachable(from: Facts, events: &[Event]) -> HashSet<Facts> {
    let (mut seen, mut open) = (HashSet::from([from]), vec![from]);
    while let Some(facts) = open.pop() {
        for next in events.iter().filter_map(|event| facts.after(*event)).filter(small) {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}

#[test]
fn a_small_world_has_the_situations_that_it_must_and_closed_is_reached_from_all() {
    for (wrap_ups, count, states) in [(false, 40, 6), (true, 67, 7)] {
        let events = events(wrap_ups);
        let begun = Facts::EMPTY.after(START).unwrap();
        let all = reachable(begun, &events);
        assert_eq!(all.len(), count, "with wrap-up: {wrap_ups}");
        let seen: HashSet<State> = all.iter().map(state).collect();
        assert_eq!(seen.len(), states);
        assert_eq!(seen.contains(&State::WrapUp), wrap_ups);
        for facts in all {
            let ends = reachable(facts, &events);
            assert!(ends.iter().any(|f| f.phase == Phase::Closed), "{facts:?} can never be closed");
        }
    }
}

/// The same life in plain words: who is there, by name.
#[derive(Debug, Default)]
struct Model {
    sessions: u32,
    agents: u32,
    concluding: u32,
    ever: bool,
    owed: u32,
    closing: bool,
    closed: bool,
}

impl Model {
    fn says(&self) -> State {
        match () {
            () if self.closed => State::Closed,
            () if self.closing => State::Closing,
            () if self.sessions > 0 && self.agents > 0 => State::Active,
            () if self.sessions > 0 && self.ever => State::Inactive,
            () if self.sessions > 0 => State::Created,
            () if self.concluding > 0 => State::WrapUp,
            () => State::CustomerLeft,
        }
    }

    fn take(&mut self, facts: Facts) {
        self.sessions = facts.sessions;
        self.agents = facts.agents;
        self.concluding = facts.wrapping_up;
        self.ever |= facts.agents > 0;
        self.owed = facts.obligations;
        self.closing |= facts.phase == Phase::Closing;
        self.closed |= facts.phase == Phase::Closed;
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    prop::sample::select(events(true))
}

proptest! {
    #[test]
    fn a_long_life_agrees_with_its_model(events in prop::collection::vec(any_event(), 0..200)) {
        let mut facts = Facts::EMPTY.after(START).unwrap();
        let mut model = Model::default();
        model.take(facts);
        for event in events {
            let Some(next) = facts.after(event) else { continue };
            model.take(next);
            prop_assert_eq!(state(&next), model.says(), "{:?} on {:?}", facts, event);
            prop_assert!(!facts.ever_agent || next.ever_agent, "an agent who was there was never there");
            prop_assert!(next.phase >= facts.phase, "a conversation never opens again");
            prop_assert!(next.agents == 0 || next.ever_agent);
            let gone = next.sessions + next.agents + next.wrapping_up + next.obligations;
            prop_assert!(next.phase == Phase::Open || gone == 0, "someone is left in what is being closed");
            facts = next;
        }
    }
}
