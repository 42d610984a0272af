//! Running a plan over one document: rules bind source items and write resources, units gather what goes wrong.
//!
//! A problem never stops the run: it becomes a finding of the unit being built (which then goes to quarantine), and the
//! rest of the document goes on. Only a limit stops everything.

use std::collections::HashMap;

use bumpalo::Bump;
use smallvec::SmallVec;

use crate::codes::{CodeTable, CodeTables, Lookup, Row};
use crate::finding::{Finding, Severity};
use crate::fml::ListMode;
use crate::output::{Coverage, Subject};
use crate::source::{NodeId, Symbol, Tree};

use super::code::{Effect, Fill, RulePlan, SourcePlan, Step, TargetPlan, Way};
use super::condition::{Met, Reach};
use super::item::{Item, Items, Texts, Values};
use super::problem::Problem;
use super::record::{Event, Moment, Reading, Record};
use super::shape::Shapes;
use super::tables::InlineTable;
use super::target::{Arena, Origin, TargetId, WriteError};
use super::translate::Parts;
use super::{Entry, Limits, Plan};

/// A root resource while it is being built.
#[derive(Debug)]
pub(crate) struct Building {
    pub root: TargetId,
    pub anchor: NodeId,
    pub identity: Option<(String, String)>,
    pub subject: Subject,
    pub subject_none: bool,
    pub source_time: Option<String>,
    pub left: Vec<String>,
    pub replaced_by: Subject,
    pub findings: Vec<Finding>,
    pub rule: u32,
}

/// A code table of the map or of its folder.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'t> {
    Inline(&'t InlineTable),
    Table(&'t CodeTable),
    None,
}

impl Rows<'_> {
    /// Whether a text lies in a row of the table.
    fn holds(&self, text: &str) -> bool {
        let is_of = |row: &Row| {
            let parts = [&row.target_system, &row.target_code, &row.target_display];
            parts.iter().any(|part| std::ptr::eq(part.as_ptr(), text.as_ptr()))
        };
        match self {
            Rows::Inline(rows) => rows.rows().any(is_of),
            Rows::Table(table) => table.rows().iter().any(is_of),
            Rows::None => false,
        }
    }
}

pub(crate) struct Machine<'t> {
    pub plan: &'t Plan,
    pub tree: &'t Tree,
    pub codes: &'t CodeTables,
    /// Tables met so far, by name.
    pub tables: SmallVec<[(&'t str, Rows<'t>); 8]>,
    pub limits: Limits,
    pub shapes: &'t Shapes,
    pub symbols: Vec<Option<Symbol>>,
    pub parts: Parts,
    pub met: Met,
    pub coverage: Coverage,
    /// Nodes a rule took as its source: a modifierExtension that is none of these was not understood.
    pub taken: Coverage,
    pub target: Arena<'t>,
    pub slots: Vec<Items<'t>>,
    /// Where texts the map makes are kept.
    pub texts: Texts<'t>,
    pub base: usize,
    pub units: Vec<Building>,
    pub unit: Option<usize>,
    pub findings: Vec<Finding>,
    pub anchor: NodeId,
    pub rule: u32,
    pub rules_run: u32,
    pub steps: u64,
    pub depth: u32,
    pub stopped: bool,
    pub shares: HashMap<(TargetId, u16), TargetId>,
    pub logs: Vec<(u32, String)>,
    /// How values are being read just now; what a [`Record`] says of them.
    pub reading: Reading,
    pub record: Option<Box<Record>>,
    /// `$total` and `$index`.
    pub total: Items<'t>,
    pub place: usize,
}

impl<'t> Machine<'t> {
    pub(crate) fn new(
        plan: &'t Plan,
        tree: &'t Tree,
        codes: &'t CodeTables,
        limits: Limits,
        bump: &'t Bump,
    ) -> Machine<'t> {
        Machine {
            plan,
            tree,
            codes,
            tables: SmallVec::new(),
            limits,
            shapes: &plan.shapes,
            symbols: plan.symbols.of(&plan.names, tree),
            parts: Parts::new(tree),
            met: Met::default(),
            coverage: Coverage::new(tree.len()),
            taken: Coverage::new(tree.len()),
            target: Arena::new(&plan.shapes, limits.nodes_max as usize, tree.len()),
            slots: Vec::new(),
            texts: Texts::new(bump, limits.made_bytes_max as usize),
            base: 0,
            units: Vec::new(),
            unit: None,
            findings: Vec::new(),
            anchor: tree.root(),
            rule: 0,
            rules_run: 0,
            steps: 0,
            depth: 0,
            stopped: false,
            shares: HashMap::new(),
            logs: Vec::new(),
            reading: Reading::Tested,
            record: None,
            total: Items::Empty,
            place: 0,
        }
    }

    /// What a table says about a code. The plan names it with the same text each time.
    pub(crate) fn lookup(&mut self, table: &'t str, system: &str, code: &str) -> Lookup<'t> {
        let known = self.tables.iter().find(|(name, _)| std::ptr::eq(*name, table)).map(|(_, rows)| *rows);
        let rows = known.unwrap_or_else(|| {
            let rows = match self.plan.tables.get(table) {
                Some(rows) => Rows::Inline(rows),
                None => self.codes.get(table).map_or(Rows::None, Rows::Table),
            };
            self.tables.push((table, rows));
            rows
        });
        match rows {
            Rows::Inline(rows) => rows.lookup(system, code),
            Rows::Table(table) => table.lookup(system, code),
            Rows::None => Lookup::Unmapped,
        }
    }

    /// Runs an entry group on the whole document.
    pub(crate) fn run(&mut self, entry: &Entry) {
        let Some(group) = self.plan.groups.get(entry.group) else { return };
        self.slots.push(Items::One(Item::Node(self.tree.root())));
        if group.parameters > 1
            && let Some(type_id) = entry.type_id
        {
            let origin = Origin { rule: entry.rule, node: self.tree.root() };
            match self.target.root(type_id, origin) {
                Ok(root) => {
                    if entry.is_unit {
                        self.begin(root, entry.rule);
                    }
                    self.slots.push(Items::One(Item::Target(root)));
                }
                Err(error) => self.report(error.into()),
            }
        }
        self.group(entry.group, 0);
    }

    fn begin(&mut self, root: TargetId, rule: u32) {
        self.unit = Some(self.units.len());
        self.units.push(Building {
            root,
            anchor: self.anchor,
            identity: None,
            subject: Subject::default(),
            subject_none: false,
            source_time: None,
            left: Vec::new(),
            replaced_by: Subject::default(),
            findings: Vec::new(),
            rule,
        });
    }

    /// Runs a group whose arguments lie at `frame`.
    fn group(&mut self, index: usize, frame: usize) {
        let plan = self.plan;
        let Some(group) = plan.groups.get(index) else { return };
        let outer = std::mem::replace(&mut self.base, frame);
        self.slots.resize_with(self.base + group.slots, Items::default);
        for rule in &group.rules {
            self.rule(rule);
        }
        self.slots.truncate(self.base);
        self.base = outer;
    }

    fn rule(&mut self, rule: &'t RulePlan) {
        if self.depth >= self.limits.depth_max {
            return self.stop("limit-depth", "rules and groups nest too deep");
        }
        self.depth += 1;
        let (anchor, outer) = (self.anchor, std::mem::replace(&mut self.rule, rule.place));
        self.bind(rule, 0);
        self.depth -= 1;
        self.anchor = anchor;
        self.rule = outer;
    }

    /// Binds source `at` of the rule to each of its items in turn, then the next; all bound, the rule fires.
    fn bind(&mut self, rule: &'t RulePlan, at: usize) {
        if self.stopped {
            return;
        }
        let Some(source) = rule.sources.get(at) else { return self.fire(rule) };
        if source.is_plain
            && let Some(reached) = self.reached(source)
        {
            if let Reach::Node(node) = reached {
                self.bind_one(rule, source, node, at);
            }
            return;
        }
        let items = match self.items(rule, source) {
            Ok(items) => items,
            Err(problem) => return self.report(problem),
        };
        let outer = self.anchor;
        for &item in items.as_slice() {
            if let Item::Node(node) = item {
                self.taken.mark(node);
                self.anchor = node;
            }
            match source.slot {
                Some(slot) => self.assign(slot, Items::One(item)),
                None => self.tested(item),
            }
            self.bind(rule, at + 1);
            self.anchor = outer;
        }
    }

    /// As [`Machine::bind`], of a plain source that leads to one element.
    fn bind_one(&mut self, rule: &'t RulePlan, source: &'t SourcePlan, node: NodeId, at: usize) {
        let item = Item::Node(node);
        self.bound(source, item);
        let fits = self.spend().and_then(|()| match &source.condition {
            Some(condition) => self.holds(condition, Some(item)),
            None => Ok(true),
        });
        match fits {
            Ok(true) => {}
            Ok(false) => return,
            Err(problem) => return self.report(problem),
        }
        self.taken.mark(node);
        let outer = std::mem::replace(&mut self.anchor, node);
        if source.slot.is_none() {
            self.tested(item);
        }
        self.bind(rule, at + 1);
        self.anchor = outer;
    }

    /// Where a source's path leads, when it is names and passes one element at each step.
    fn reached(&mut self, source: &SourcePlan) -> Option<Reach> {
        let names = match &source.steps {
            Way::Names(names) => names,
            Way::Steps(_) => return None,
        };
        self.along(Some(source.slot_from), names, None)
    }

    /// Binds a source's variable to the item looked at, for conditions that name it.
    fn bound(&mut self, source: &SourcePlan, item: Item<'t>) {
        if let Some(slot) = source.slot {
            self.assign(slot, Items::One(item));
        }
    }

    /// The items a source's path leads to, of whatever kind and number.
    fn walked(&mut self, source: &SourcePlan) -> Items<'t> {
        let mut items = self.slot(source.slot_from).clone();
        let mut go = |this: &mut Self, step: &Step| {
            let mut next = Items::Empty;
            for &item in items.as_slice() {
                this.step(item, step, &mut next);
            }
            items = next;
        };
        match &source.steps {
            Way::Names(names) => names.iter().for_each(|name| go(self, &Step::Name(*name))),
            Way::Steps(steps) => steps.iter().for_each(|step| go(self, step)),
        }
        items
    }

    fn items(&mut self, rule: &RulePlan, source: &'t SourcePlan) -> Result<Items<'t>, Problem> {
        let items = match self.reached(source) {
            Some(reached) => reached.into(),
            None => self.walked(source),
        };
        let mut kept = Items::Empty;
        if source.condition.is_none() && source.type_name.is_none() {
            self.spend()?;
            kept = items;
        } else {
            for &item in items.as_slice() {
                self.spend()?;
                self.bound(source, item);
                match source.type_name.as_ref().map(|wanted| (wanted, self.is_of_type(item, wanted))) {
                    None | Some((_, Some(true))) => {}
                    Some((_, Some(false))) => continue,
                    // Passed over it would be lost without a word.
                    Some((wanted, None)) => {
                        let text = format!("nothing here tells whether this is a {wanted}");
                        let remedy =
                            "send its type (resourceType, xsi:type), or test what it says with `where`";
                        return Err(Problem::new("source-type", text, remedy).on(item));
                    }
                }
                if match &source.condition {
                    Some(condition) => self.holds(condition, Some(item))?,
                    None => true,
                } {
                    kept.push(item);
                }
            }
        }
        if kept.is_empty()
            && let Some(default) = &source.default
        {
            kept = self.evaluate(default, None)?;
        }
        if let Some((min, max)) = source.cardinality
            && (kept.len() < min as usize || max.is_some_and(|max| kept.len() > max as usize))
        {
            let upper = max.map_or_else(|| "*".to_owned(), |max| max.to_string());
            let path = source.path.to_string();
            let text =
                format!("{} of `{path}` as the map wants them, where it expects {min}..{upper}", kept.len());
            let problem = Problem::new("source-cardinality", text, "mend the document, or widen the map");
            return Err(problem.because(rule.name.clone().unwrap_or(path)));
        }
        match source.list_mode {
            ListMode::All => {}
            ListMode::First => kept = kept.first().into(),
            ListMode::NotFirst => kept = kept.as_slice().iter().skip(1).copied().collect(),
            ListMode::Last => kept = kept.as_slice().last().copied().into(),
            ListMode::NotLast => {
                kept = kept.as_slice().iter().take(kept.len().saturating_sub(1)).copied().collect();
            }
            ListMode::OnlyOne if kept.len() > 1 => {
                let problem = Problem::new("source-many", "only one value may be there", "send one value");
                return Err(kept.first().map_or(problem.clone(), |item| problem.on(item)));
            }
            ListMode::OnlyOne => {}
        }
        if let Some(check) = &source.check {
            for &item in kept.as_slice() {
                self.bound(source, item);
                if !self.holds(check, Some(item))? {
                    let text = rule.name.clone().unwrap_or_else(|| "a check of the map failed".to_owned());
                    let problem =
                        Problem::new("check-failed", text.clone(), "mend the document, or sign off the map");
                    return Err(problem.on(item).because(text));
                }
            }
        }
        if let Some(log) = &source.log {
            for &item in kept.as_slice() {
                self.bound(source, item);
                let logged = self.evaluate(log, Some(item))?;
                let text: Vec<&str> = logged.as_slice().iter().filter_map(|i| self.text(*i)).collect();
                self.logs.push((rule.place, text.join(", ")));
            }
        }
        Ok(kept)
    }

    fn fire(&mut self, rule: &'t RulePlan) {
        self.rules_run += 1;
        if self.rules_run > self.limits.rules_max {
            return self.stop("limit-rules", "the map runs too many rules on this document");
        }
        let unit = self.unit;
        self.note(Moment::Enter, rule.place, || (rule.name.clone().unwrap_or_default(), None));
        for (place, target) in &rule.targets {
            let outer = std::mem::replace(&mut self.rule, *place);
            let before = std::mem::replace(&mut self.reading, reading(target));
            let (from, around) = (self.target.len(), self.take_reads());
            if let Err(problem) = self.target(target) {
                self.report(problem);
            }
            self.reading = before;
            if self.record.is_some() {
                self.refine(from, *place, around);
                let step = self.step_of(target);
                self.note(Moment::Step, *place, || step);
            }
            self.rule = outer;
        }
        for (group, arguments) in &rule.calls {
            // Arguments lie behind the frame of this group, where the frame of the called one begins.
            let frame = self.slots.len();
            let mut evaluated = Ok(());
            for argument in arguments {
                match self.evaluate(argument, None) {
                    Ok(value) => self.slots.push(value),
                    Err(problem) => {
                        evaluated = Err(problem);
                        break;
                    }
                }
            }
            match evaluated {
                Ok(()) => self.group(*group, frame),
                Err(problem) => {
                    self.slots.truncate(frame);
                    self.report(problem);
                }
            }
        }
        for inner in &rule.rules {
            self.rule(inner);
        }
        self.unit = unit;
        self.note(Moment::Exit, rule.place, || (rule.name.clone().unwrap_or_default(), None));
    }

    /// Counts a source node as read.
    pub(crate) fn mark(&mut self, node: NodeId) {
        self.coverage.mark(node);
        if let Some(record) = &mut self.record {
            record.mark(node, self.reading);
        }
    }

    /// The reads noted so far, of what stands around the target to come.
    fn take_reads(&mut self) -> Vec<NodeId> {
        self.record.as_mut().map_or_else(Vec::new, |record| std::mem::take(&mut record.reads))
    }

    /// Lets what a target wrote lead to the field it is from, where that can be told; `around` is noted again.
    fn refine(&mut self, from: u32, place: u32, around: Vec<NodeId>) {
        let reads = match &mut self.record {
            Some(record) => std::mem::replace(&mut record.reads, around),
            None => return,
        };
        let tree = self.tree;
        let inside = |part: NodeId, whole: NodeId| {
            let (part, whole) = (tree.node(part).span, tree.node(whole).span);
            whole.start <= part.start && part.end <= whole.end
        };
        let tables = &self.tables;
        let is_made = |text: &str| !tree.holds(text) && !tables.iter().any(|(_, rows)| rows.holds(text));
        self.target.refine(from, place, &reads, |node| tree.text(node), inside, is_made);
    }

    fn note(&mut self, moment: Moment, place: u32, said: impl FnOnce() -> (String, Option<String>)) {
        let Some(record) = &mut self.record else { return };
        let place = self.plan.places.get(place as usize).copied().unwrap_or_default();
        let (name, value) = said();
        record.push(Event { moment, depth: self.depth, place, name, node: self.anchor, value });
    }

    /// Name of what a target wrote, and its value where that is a simple one.
    fn step_of(&self, target: &TargetPlan) -> (String, Option<String>) {
        let text = |item: &Item<'t>| match *item {
            Item::Target(target) => self.target.text(target),
            Item::Text(text) | Item::Number(text) => Some(text),
            Item::Boolean(value) => Some(if value { "true" } else { "false" }),
            Item::Node(node) => self.tree.text(node),
        };
        let slot = |slot: u16| {
            let texts: Vec<&str> = self.slot(slot).as_slice().iter().filter_map(text).collect();
            (!texts.is_empty()).then(|| texts.join(", "))
        };
        match target {
            TargetPlan::Effect(effect, _) => (format!("{effect:?}"), None),
            TargetPlan::Own(to, _) => ("value".to_owned(), slot(*to)),
            TargetPlan::Dispatch { field, .. } => (self.shapes.field(*field).name.clone(), None),
            TargetPlan::Bind(_, to) => ("variable".to_owned(), slot(*to)),
            TargetPlan::Root(type_id, _) => (self.shapes.type_name(*type_id).to_owned(), None),
            TargetPlan::Write { field, .. } => {
                let name = self.shapes.field(*field).name.clone();
                let value = match target {
                    TargetPlan::Write { slot: Some(to), .. } => slot(*to),
                    TargetPlan::Write { slot_from, .. } => self.slot(*slot_from).first().and_then(|item| {
                        let Item::Target(parent) = item else { return None };
                        let last = self.target.children_named(parent, &name).last().copied()?;
                        self.target.text(last).map(str::to_owned)
                    }),
                    _ => None,
                };
                (name, value)
            }
        }
    }

    fn target(&mut self, target: &'t TargetPlan) -> Result<(), Problem> {
        match target {
            TargetPlan::Bind(code, slot) => {
                let value = self.evaluate(code, None)?;
                self.assign(*slot, value);
            }
            TargetPlan::Root(type_id, slot) => {
                let root = self.target.root(*type_id, Origin { rule: self.rule, node: self.anchor })?;
                self.begin(root, self.rule);
                if let Some(slot) = slot {
                    self.assign(*slot, Items::One(Item::Target(root)));
                }
            }
            TargetPlan::Effect(effect, arguments) => {
                let mut values = Values::new();
                for argument in arguments {
                    values.push(self.evaluate(argument, None)?);
                }
                self.effect(*effect, &values)?;
            }
            TargetPlan::Own(slot, code) => {
                let items = self.evaluate(code, None)?;
                let target = self.slot(*slot).first();
                if let (Some(Item::Target(target)), Some(text)) = (target, self.single_text(&items)?)
                    && !text.trim().is_empty()
                {
                    if self.target.text(target).is_some() {
                        return Err(WriteError::Second("value".to_owned()).into());
                    }
                    self.set(target, text)
                        .map_err(|problem| items.first().map_or(problem.clone(), |item| problem.on(item)))?;
                }
            }
            TargetPlan::Dispatch { slot_from, field, source, table } => {
                let (Some(Item::Target(parent)), Some(item)) =
                    (self.slot(*slot_from).first(), self.slot(*source).first())
                else {
                    return Ok(());
                };
                let name = self.resource_type(item).unwrap_or_default();
                let Some(&(type_id, group)) = table.get(name) else {
                    let text = format!("no group of the map takes a `{name}`");
                    return Err(
                        Problem::new("resource-unmapped", text, "write a `<<type+>>` group for it").on(item)
                    );
                };
                let made = self.target.add(parent, *field, type_id, self.origin())?;
                let frame = self.slots.len();
                self.slots.extend([Items::One(item), Items::One(Item::Target(made))]);
                self.group(group, frame);
            }
            TargetPlan::Write { slot_from, steps, field, type_id, fill, pick, slot } => {
                let written = match self.slot(*slot_from).first() {
                    Some(Item::Target(parent)) => self.write(parent, steps, *field, *type_id, fill, *pick)?,
                    // The element could not be made; that is a finding already.
                    _ => Items::Empty,
                };
                if let Some(slot) = slot {
                    self.assign(*slot, written);
                }
            }
        }
        Ok(())
    }

    /// Gives a primitive its value. Errors: it does not fit the type.
    pub(crate) fn set(&mut self, target: TargetId, text: &'t str) -> Result<(), Problem> {
        let texts = self.texts;
        self.target.set(target, text, |number| texts.keep(number))
    }

    /// Counts one step of work; the limit bounds loops inside loops, whatever the document.
    pub(crate) fn spend(&mut self) -> Result<(), Problem> {
        self.steps += 1;
        if self.steps > self.limits.steps_max {
            let remedy = "split the document, or raise the limit in mapping.toml";
            return Err(Problem::new("limit-steps", "the map takes too many steps on this document", remedy));
        }
        Ok(())
    }

    pub(crate) fn assign(&mut self, slot: u16, items: Items<'t>) {
        if let Some(place) = self.slots.get_mut(self.base + usize::from(slot)) {
            *place = items;
        }
    }

    /// A problem as a finding of the unit being built, or of the document.
    pub(crate) fn report(&mut self, problem: Problem) {
        if matches!(problem.code, "limit-nodes" | "limit-steps" | "limit-made") {
            return self.stop(problem.code, &problem.text);
        }
        let node = problem.node.unwrap_or(self.anchor);
        let finding = self.finding(problem, node);
        let findings = match self.unit.and_then(|at| self.units.get_mut(at)) {
            Some(unit) => &mut unit.findings,
            None => &mut self.findings,
        };
        if findings.len() < self.limits.findings_max as usize {
            findings.push(finding);
        }
    }

    pub(crate) fn finding(&self, problem: Problem, node: NodeId) -> Finding {
        let problem = problem.into_said();
        let mut finding = Finding::new(problem.severity, problem.code, problem.text, problem.remedy).at(
            self.tree.path(node),
            self.tree.node(node).span,
            0,
            0,
        );
        finding.rule = self.plan.places.get(self.rule as usize).map(|place| self.plan.files.show(*place));
        finding.untranslated = problem.untranslated;
        if let Some(cause) = problem.cause {
            finding = finding.because(cause);
        }
        finding
    }

    pub(crate) fn stop(&mut self, code: &'static str, text: &str) {
        if !std::mem::replace(&mut self.stopped, true) {
            let problem = Problem::new(code, text, "split the document, or raise the limit in mapping.toml");
            let mut finding = self.finding(problem, self.anchor);
            finding.severity = Severity::Fatal;
            self.findings.push(finding);
        }
    }
}

/// How a target uses what it reads.
fn reading(target: &TargetPlan) -> Reading {
    match target {
        TargetPlan::Effect(Effect::Use, _) => Reading::Waived,
        TargetPlan::Effect(Effect::Refuse | Effect::Warn, _) => Reading::Tested,
        TargetPlan::Write { fill: Fill::Translate { .. } | Fill::Ucum { .. }, .. } => Reading::Translated,
        TargetPlan::Effect(..)
        | TargetPlan::Bind(..)
        | TargetPlan::Own(..)
        | TargetPlan::Dispatch { .. }
        | TargetPlan::Root(..)
        | TargetPlan::Write { .. } => Reading::Copied,
    }
}
