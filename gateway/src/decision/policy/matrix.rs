//! The policy printed: who may do what, one line per role, purpose and category. `docs/access-matrix.txt` is this text;
//! a test compares the two, so that a cell that opens is seen in review like code.

use super::{Policy, Role, Users};

/// The access matrix, as committed. Lines end in `\n`; letters as in `roles.toml`.
pub fn matrix(policy: &Policy) -> String {
    let mut text = format!(
        "Access matrix of policy {}\n\nc create, r read and history, u update, d delete, s search, x bulk export; \
         '-' nothing.\nr, s and x are the most a patient's consent can open (open categories need none); c, u, d hold \
         for the own organisation's rows.\n",
        policy.version
    );
    for role in &policy.roles {
        for purpose in &role.purposes {
            section(policy, role, purpose, &mut text);
        }
    }
    text
}

/// What `sluis policy check` says of a policy that loaded.
pub fn check(policy: &Policy) -> String {
    format!(
        "policy {} (sha256 {}): {} roles, {} purposes, {} of 64 categories, {} labels; every cell is explicit\n",
        policy.version,
        policy.sha256,
        policy.roles.len(),
        policy.purposes.len(),
        policy.categories.len(),
        policy.labels.len(),
    )
}

/// Letters of one cell, `-` for none.
pub fn cell(role: &Role, category: u64) -> String {
    let cells = &role.cells;
    let letters = [
        ('c', cells.create),
        ('r', cells.read),
        ('u', cells.update),
        ('d', cells.delete),
        ('s', cells.search),
        ('x', cells.export),
    ];
    let letters: String =
        letters.iter().filter(|(_, mask)| mask & category != 0).map(|(letter, _)| letter).collect();
    if letters.is_empty() { "-".to_owned() } else { letters }
}

fn section(policy: &Policy, role: &Role, purpose: &str, text: &mut String) {
    let users = match &role.users {
        Users::Professionals(codes) => codes.join(" "),
        Users::Client => "client system".to_owned(),
        Users::Patient => "the patient".to_owned(),
    };
    let kinds_written = match &role.kinds_written {
        None => "all its cells allow".to_owned(),
        Some(kinds) if kinds.is_empty() => "none".to_owned(),
        Some(kinds) => {
            let defs = sluis_conformance::definitions::r4();
            kinds.iter().map(|kind| defs.type_name(*kind)).collect::<Vec<_>>().join(" ")
        }
    };
    let yes = |flag| if flag { "yes" } else { "no" };
    let confidentiality = policy.confidentialities.get(usize::from(role.confidentiality_max));
    let denied = policy.label_codes(role.labels_denied);
    text.push_str(&format!(
        "\n{} / {purpose}\n  organisations {}; users {users}\n  care relation {}; own dossier {}; records consent {}; \
         discards {}; pseudonymised {}\n  confidentiality to {}; labels never {}; types written {kinds_written}\n",
        role.name,
        role.kinds.join(" "),
        yes(role.care_relation),
        yes(role.own),
        yes(role.records_consent),
        yes(role.discards),
        yes(role.pseudonymise),
        confidentiality.map_or("?", String::as_str),
        if denied.is_empty() { "-".to_owned() } else { denied.join(" ") },
    ));
    for (at, category) in policy.categories.iter().enumerate().take(64) {
        text.push_str(&format!("    {:<14} {}\n", category.code, cell(role, 1 << at)));
    }
}
