//! Functions over whole collections, by equality of their items. Source: FHIRPath 2.0.0, 5.1 to 5.4.

use crate::plan::code::Function;
use crate::plan::execute::Machine;
use crate::plan::item::Items;
use crate::plan::problem::Problem;

impl<'t> Machine<'t> {
    pub(super) fn collection(
        &mut self,
        function: Function,
        base: Items<'t>,
        arguments: &[Items<'t>],
    ) -> Result<Items<'t>, Problem> {
        let none = Items::Empty;
        let other = arguments.first().unwrap_or(&none);
        Ok(match function {
            Function::IsDistinct => {
                let count = base.len();
                Items::boolean(self.distinct(base).len() == count)
            }
            Function::Every(wanted) | Function::Any(wanted) => {
                let all = matches!(function, Function::Every(_));
                let mut found = all;
                for &item in base.as_slice() {
                    let is = self.truth(&Items::One(item))? == Some(wanted);
                    found = if all { found && is } else { found || is };
                }
                Items::boolean(found)
            }
            Function::Union => {
                let all = base.as_slice().iter().chain(other.as_slice()).copied().collect();
                self.distinct(all)
            }
            Function::Intersect => {
                let both = self.kept(&base, other, true)?;
                self.distinct(both)
            }
            Function::Exclude => self.kept(&base, other, false)?,
            Function::SubsetOf => Items::boolean(self.kept(&base, other, true)?.len() == base.len()),
            _ => Items::boolean(self.kept(other, &base, true)?.len() == other.len()),
        })
    }

    /// The items that are, or are not, in another collection.
    fn kept(&mut self, items: &Items<'t>, other: &Items<'t>, wanted: bool) -> Result<Items<'t>, Problem> {
        let mut kept = Items::Empty;
        for &item in items.as_slice() {
            let mut found = false;
            for &other in other.as_slice() {
                self.spend()?;
                found = found || self.item_equal(item, other);
            }
            if found == wanted {
                kept.push(item);
            }
        }
        Ok(kept)
    }
}
