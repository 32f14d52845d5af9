//! Who calls, and for which tenant.

use subtle::ConstantTimeEq;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::status;
use crate::config::{Principal, Role};
use crate::store::Tenant;

/// The metadata key that names the tenant.
pub const TENANT_KEY: &str = "veridem-tenant";
/// The principal where none is configured: anyone on this machine.
const LOCAL_PRINCIPAL: &str = "local";

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Send signals, and say what became of deliveries.
    Send,
    /// Ask.
    Read,
    /// Decide on persons.
    Decide,
    /// Run the flows: dead letters, replays, the quarantine; see who did what.
    Operate,
    /// Change the model, let all data out, export and erase persons.
    Administer,
}

impl Right {
    /// Whether a role has it.
    fn is_of(self, role: Role) -> bool {
        match self {
            Self::Read => true,
            Self::Send => matches!(role, Role::Service | Role::Administrator),
            Self::Decide => matches!(role, Role::Steward | Role::Lead | Role::Administrator),
            Self::Operate => matches!(role, Role::Lead | Role::Administrator),
            Self::Administer => role == Role::Administrator,
        }
    }
}

/// Someone who calls for a tenant.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose data.
    pub tenant: Tenant,
    /// Who.
    pub principal: String,
    role: Role,
}

impl Caller {
    /// What the caller is there for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the caller's role has a right.
    pub fn may(&self, right: Right) -> bool {
        right.is_of(self.role)
    }

    /// The caller, where their role has a right.
    pub fn with(self, right: Right) -> Result<Self, Status> {
        if self.may(right) {
            return Ok(self);
        }
        let role = self.role.as_str();
        Err(status::denied(
            "authorization",
            &format!("a principal of the role {role} may not do this"),
        ))
    }
}

/// Knows the principals.
pub struct Authenticator {
    principals: Vec<Principal>,
}

impl Authenticator {
    /// Without principals anyone who reaches the port is `local` and may do everything with the default tenant.
    pub fn new(principals: Vec<Principal>) -> Self {
        Self { principals }
    }

    /// Whether anyone who reaches the port may call.
    pub fn is_open(&self) -> bool {
        self.principals.is_empty()
    }

    /// Every tenant that may be asked for.
    pub fn tenants(&self) -> Vec<Tenant> {
        let mut tenants: Vec<Tenant> = self
            .principals
            .iter()
            .flat_map(|principal| principal.tenants.iter().cloned())
            .collect();
        tenants.push(Tenant::default_tenant());
        tenants.sort();
        tenants.dedup();
        tenants
    }

    /// Whoever has a token, for a tenant.
    pub fn sign_in(&self, token: &str, tenant: Tenant) -> Result<Caller, Status> {
        if self.is_open() {
            return self.local(tenant);
        }
        // Every token is compared, each in constant time, so that the answer's time tells nothing.
        let mut found = None;
        for principal in &self.principals {
            if bool::from(principal.token.as_bytes().ct_eq(token.as_bytes())) {
                found = Some(principal);
            }
        }
        let principal = found.ok_or_else(|| status::unauthenticated("the token is not known"))?;
        if !principal.tenants.contains(&tenant) {
            return Err(status::denied(
                TENANT_KEY,
                "the principal may not use this tenant",
            ));
        }
        Ok(Caller {
            tenant,
            principal: principal.name.clone(),
            role: principal.role,
        })
    }

    /// Anyone on this machine.
    fn local(&self, tenant: Tenant) -> Result<Caller, Status> {
        if tenant != Tenant::default_tenant() {
            return Err(status::denied(
                TENANT_KEY,
                "without configured principals there is the default tenant only",
            ));
        }
        Ok(Caller {
            tenant,
            principal: LOCAL_PRINCIPAL.to_owned(),
            role: Role::Administrator,
        })
    }

    /// The caller of a request.
    pub fn authenticate(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let tenant = match metadata.get(TENANT_KEY) {
            None => Tenant::default_tenant(),
            Some(name) => name
                .to_str()
                .ok()
                .and_then(|name| Tenant::try_from(name.to_owned()).ok())
                .ok_or_else(|| status::invalid(TENANT_KEY, "names no tenant"))?,
        };
        if self.is_open() {
            return self.local(tenant);
        }
        let header = metadata
            .get("authorization")
            .and_then(|header| header.to_str().ok());
        let token = header
            .and_then(|header| header.strip_prefix("Bearer "))
            .ok_or_else(|| {
                status::unauthenticated("send the metadata \"authorization: Bearer <token>\"")
            })?;
        self.sign_in(token, tenant)
    }
}
