//! A round over counters that live in several places: all of them are charged, or none.
//!
//! Why: counters that are apart cannot be checked and charged in one go. Charged all at once and
//! given back, refused requests would refuse innocents of a limit that they share. So counters form
//! groups, each of which can be charged in one go. Those of this node come first, since they answer
//! at once. Of the others the first is charged while the rest are looked at; only when all of them
//! allow the request are those charged too, one after the other. What was used for a request that
//! another limit then refuses is given back. It costs one round trip for each group that is not
//! here, and one group is the usual case.
//!
//! A shell asks what [`Round::asks`] says, all of it at once, tells the answers, and goes on until
//! nothing is left to ask.

use std::cmp::Reverse;

use super::act::{Act, Answer};
use super::charge::{Charge, Charged, StoreFault};
use super::definition::{Limit, Mode};
use crate::sorting::sort_by;

/// Where a counter lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In this node.
    Here,
    /// In this node as far as a lease goes, and elsewhere beyond it.
    Leased(usize),
    /// Elsewhere; counters of the same number can be charged in one go.
    Apart(usize),
}

impl Place {
    fn is_near(self) -> bool {
        !matches!(self, Self::Apart(_))
    }
}

/// Which counters elsewhere can be charged in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All of them.
    Together,
    /// Those whose keys have the first part in common.
    ByHome,
    /// None: each lives by itself.
    Each,
}

/// What a group is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// To say what a charge would be answered.
    Look,
    /// To charge all of its counters, or none.
    Charge,
    /// To take back what was charged.
    GiveBack,
}

/// One group to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Number of the group.
    pub group: usize,
    /// Where it lives.
    pub place: Place,
    /// What it is asked to do.
    pub errand: Errand,
}

/// Counters that are charged in one go.
#[derive(Debug)]
struct Group {
    place: Place,
    members: Vec<Member>,
    /// Why its counters could not be asked.
    fault: Option<StoreFault>,
    /// Why this node counts instead of those that could not be asked.
    instead_of: Option<StoreFault>,
}

/// A counter.
#[derive(Debug)]
struct Member {
    /// Position among the charges of the request.
    at: usize,
    charge: Charge,
    /// What this node has let pass while the counter could not be asked.
    owed: u64,
    answer: Option<Answer>,
}

impl Member {
    fn is_allowed(&self) -> bool {
        self.answer.is_some_and(|answer| answer.charged.allowed)
    }

    fn refuses(&self) -> bool {
        let Some(answer) = self.answer else {
            return false;
        };
        self.charge.refuses(Charged::Verdict(answer.charged))
    }
}

/// How far a round has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// This group comes next.
    Charges(usize),
    /// There is nothing left to decide.
    Over,
}

/// A round of charges for one request.
#[derive(Debug)]
pub struct Round {
    /// In the order of charging.
    groups: Vec<Group>,
    /// How many charges there are.
    count: usize,
    stage: Stage,
    /// Whether groups that are apart were looked at.
    has_looked: bool,
    /// Groups that were charged.
    taken: Vec<usize>,
}

impl Round {
    /// Makes a round in which nothing was asked yet. `owed` says for each charge what this node has
    /// let pass by itself while the counter could not be asked, 0 beyond its end. The counter is told
    /// when it is charged; this node goes on owing it if the counter cannot be asked again.
    pub fn new(charges: &[Charge], layout: Layout, owed: &[u64]) -> Self {
        let mut groups: Vec<Group> = Vec::with_capacity(1);
        for (at, charge) in charges.iter().enumerate() {
            let place = place(charge, at, layout);
            let member = Member {
                at,
                charge: charge.clone(),
                owed: owed.get(at).copied().unwrap_or(0),
                answer: None,
            };
            match groups.iter_mut().find(|group| group.place == place) {
                Some(group) => group.members.push(member),
                None => groups.push(Group {
                    place,
                    members: vec![member],
                    fault: None,
                    instead_of: None,
                }),
            }
        }
        sort_by(&mut groups, |one, other| {
            order_of_charging(one).cmp(&order_of_charging(other))
        });
        Self {
            groups,
            count: charges.len(),
            stage: Stage::Charges(0),
            has_looked: false,
            taken: Vec::new(),
        }
    }

    /// Says which groups to ask now, all of them at once. Nothing is left to ask if there are none.
    pub fn asks(&mut self) -> Vec<Ask> {
        match self.stage {
            Stage::Charges(next) => self.go_on(next),
            Stage::Over => Vec::new(),
        }
    }

    /// Says what each counter of a group is asked to do.
    pub fn acts(&self, ask: Ask) -> Vec<(Charge, Act)> {
        let Some(group) = self.groups.get(ask.group) else {
            return Vec::new();
        };
        let mut acts = Vec::with_capacity(group.members.len());
        for member in &group.members {
            let act = match ask.errand {
                Errand::Look => Act::Peek,
                Errand::Charge => Act::Charge { owed: member.owed },
                Errand::GiveBack => match member.answer {
                    Some(answer) if answer.charged.allowed => {
                        Act::Refund(answer.charged.period_end)
                    }
                    Some(_) | None => continue,
                },
            };
            acts.push((member.charge.clone(), act));
        }
        acts
    }

    /// Takes a group's answers, one for each counter in the order of [`Round::acts`]; or why there
    /// are none.
    pub fn answer(&mut self, ask: Ask, answers: Result<Vec<Answer>, StoreFault>) {
        // What counters say of what they got back changes nothing.
        if ask.errand == Errand::GiveBack {
            return;
        }
        let Some(group) = self.groups.get_mut(ask.group) else {
            return;
        };
        match answers {
            Ok(answers) if answers.len() == group.members.len() => {
                for (member, answer) in group.members.iter_mut().zip(answers) {
                    member.answer = Some(answer);
                }
            }
            Ok(_) => self.do_without(ask.group, StoreFault::Broken),
            Err(fault) => self.do_without(ask.group, fault),
        }
    }

    /// Returns the answers of a round that is over, in the order of the charges.
    pub fn finish(self) -> Vec<Charged> {
        let is_refused = self.is_refused();
        let mut told = vec![Charged::Unasked; self.count];
        for group in &self.groups {
            for member in &group.members {
                let Some(place) = told.get_mut(member.at) else {
                    continue;
                };
                *place = match (member.answer, group.fault) {
                    (_, Some(fault)) => Charged::Unavailable(fault),
                    (None, None) => continue,
                    (Some(answer), None) => {
                        // A refused request has used nothing.
                        let verdict = if is_refused {
                            answer.checked
                        } else {
                            answer.charged
                        };
                        match group.instead_of {
                            Some(fault) => Charged::Local(verdict, fault),
                            None => Charged::Verdict(verdict),
                        }
                    }
                };
            }
        }
        told
    }

    /// Charges the next group, or ends the round.
    fn go_on(&mut self, from: usize) -> Vec<Ask> {
        if self.is_refused() {
            return self.give_back();
        }
        for position in from..self.groups.len() {
            if !self.is_to_be_charged(position) {
                continue;
            }
            self.stage = Stage::Charges(position + 1);
            self.taken.push(position);
            let mut asks = Vec::with_capacity(1);
            asks.extend(self.ask(position, Errand::Charge));
            let is_near = self.groups.get(position).is_none_or(|g| g.place.is_near());
            if !is_near && !self.has_looked {
                self.has_looked = true;
                for later in position + 1..self.groups.len() {
                    asks.extend(self.ask(later, Errand::Look));
                }
            }
            return asks;
        }
        self.stage = Stage::Over;
        Vec::new()
    }

    fn give_back(&mut self) -> Vec<Ask> {
        self.stage = Stage::Over;
        let mut asks = Vec::new();
        for position in self.taken.iter().copied() {
            let is_charged = self
                .groups
                .get(position)
                .is_some_and(|group| group.members.iter().any(Member::is_allowed));
            // A group that refuses has used nothing: all of it is charged, or none.
            let refuses = self
                .groups
                .get(position)
                .is_none_or(|group| group.members.iter().any(Member::refuses));
            if is_charged && !refuses {
                asks.extend(self.ask(position, Errand::GiveBack));
            }
        }
        asks
    }

    fn ask(&self, group: usize, errand: Errand) -> Option<Ask> {
        let place = self.groups.get(group)?.place;
        Some(Ask {
            group,
            place,
            errand,
        })
    }

    /// A group that has not answered is not waited for again, and one of dry runs that refuse would
    /// use nothing.
    fn is_to_be_charged(&self, position: usize) -> bool {
        let Some(group) = self.groups.get(position) else {
            return false;
        };
        let is_known = group.members.iter().any(|member| member.answer.is_some());
        let is_allowed = group.members.iter().any(Member::is_allowed);
        group.fault.is_none() && (!is_known || is_allowed)
    }

    fn is_refused(&self) -> bool {
        self.groups.iter().any(|group| match group.fault {
            Some(fault) => {
                let answer = Charged::Unavailable(fault);
                group.members.iter().any(|m| m.charge.refuses(answer))
            }
            None => group.members.iter().any(Member::refuses),
        })
    }

    /// Notes that a group cannot be asked. Where limits say so, this node counts instead.
    fn do_without(&mut self, position: usize, fault: StoreFault) {
        let Some(group) = self.groups.get_mut(position) else {
            return;
        };
        group.fault = Some(fault);
        let mut members = Vec::new();
        for member in &group.members {
            if let Some(charge) = member.charge.instead() {
                members.push(Member {
                    at: member.at,
                    charge,
                    owed: 0,
                    answer: None,
                });
            }
        }
        if !members.is_empty() {
            self.groups.push(Group {
                place: Place::Here,
                members,
                fault: None,
                instead_of: Some(fault),
            });
        }
    }
}

fn place(charge: &Charge, at: usize, layout: Layout) -> Place {
    match (charge.limit.mode, layout) {
        (Mode::Local, _) => Place::Here,
        (Mode::Leased { .. }, _) => Place::Leased(at),
        (Mode::Exact, Layout::Together) => Place::Apart(0),
        (Mode::Exact, Layout::ByHome) => Place::Apart(charge.home.into()),
        (Mode::Exact, Layout::Each) => Place::Apart(at),
    }
}

/// Returns how much a limit allows in a day.
fn daily(limit: &Limit) -> u64 {
    limit.rule.amount().saturating_mul(86_400_000) / limit.rule.period().max(1)
}

/// Says in which order groups are charged: those of this node before others, and counters of few
/// callers before those of many, so that a request which a narrow limit refuses has used nothing of
/// a wide one, not even for a moment.
fn order_of_charging(group: &Group) -> (bool, Option<(Reverse<usize>, u64, usize)>) {
    let members = group.members.iter();
    let narrowest = members
        .map(|member| {
            let limit = &member.charge.limit;
            (Reverse(limit.key.len()), daily(limit), member.at)
        })
        .min();
    (!group.place.is_near(), narrowest)
}

#[cfg(test)]
mod tests;
