use std::collections::BTreeMap;

use watertight_terms::Role;

/// What Clerk's roles are here. A role that is not in the map is a guest.
///
/// ```
/// use watertight_identity::RoleMap;
/// use watertight_terms::Role;
///
/// let map = RoleMap::default();
/// assert_eq!(map.role("org:studio_owner"), Role::Owner);
/// assert_eq!(map.role("admin"), Role::Guest); // Clerk's own defaults only by configuration
/// assert_eq!(map.with("admin", Role::Owner).role("org:admin"), Role::Owner);
/// ```
#[derive(Debug, Clone)]
pub struct RoleMap(BTreeMap<String, Role>);

impl Default for RoleMap {
    fn default() -> Self {
        Self(BTreeMap::from([
            ("studio_owner".to_owned(), Role::Owner),
            ("studio_manager".to_owned(), Role::Manager),
            ("freelancer".to_owned(), Role::Freelancer),
        ]))
    }
}

impl RoleMap {
    /// This map with another role of Clerk's, with or without its `org:`.
    pub fn with(mut self, name: &str, role: Role) -> Self {
        self.0.insert(bare(name).to_owned(), role);
        self
    }

    /// What a role of Clerk's is here. Version 1 of the tokens writes `org:`, version 2 does not.
    pub fn role(&self, name: &str) -> Role {
        self.0.get(bare(name)).copied().unwrap_or(Role::Guest)
    }
}

fn bare(name: &str) -> &str {
    name.strip_prefix("org:").unwrap_or(name)
}
