//! May this user use this app, and with which scopes.
//!
//! The rules are documented: a pre-authorised user gets the app's scopes; one who authorises herself gets those of
//! earlier approvals that came with a refresh token, and without such an approval nothing; where API Access Control
//! allows only listed apps, a listed one gets its own scopes. UNSURE is how the refusal of an unlisted app reads.

use super::org::{Org, RegisteredApp};
use super::rows::TokenRow;
use super::settings::{Approval, PermittedUsers, User};
use super::switches::Switches;

/// The scopes of the token, in the app's order.
pub(super) fn granted_scopes(
    org: &Org,
    switches: &Switches,
    app: &RegisteredApp,
    user: &User,
) -> Result<Vec<String>, TokenRow> {
    if org.api_access_control && !app.is.allowlisted {
        return Err(TokenRow::NotAdminApproved);
    }
    let scopes: Vec<String> = match &app.is.permitted_users {
        PermittedUsers::AdminApproved { assigned } if assigned.contains(user) => app.is.scopes.clone(),
        PermittedUsers::AdminApproved { .. } => return Err(TokenRow::NotAdminApproved),
        PermittedUsers::SelfAuthorize { .. } if org.api_access_control => app.is.scopes.clone(),
        PermittedUsers::SelfAuthorize { approvals } => approved_scopes(app, user, approvals)?,
    };
    if scopes.iter().all(|scope| is_for_refreshing(scope)) {
        return Err(TokenRow::InvalidScope);
    }
    let listed = |scope: &String| switches.refresh_scope_listed || !is_for_refreshing(scope);
    Ok(scopes.into_iter().filter(listed).collect())
}

/// What the user's approvals with a refresh token allow. The app cannot give what it does not have any more (a guess).
fn approved_scopes(app: &RegisteredApp, user: &User, approvals: &[Approval]) -> Result<Vec<String>, TokenRow> {
    let counts = |approval: &&Approval| {
        approval.username.eq_ignore_ascii_case(&user.username)
            && approval.scopes.iter().any(|scope| is_for_refreshing(scope))
    };
    let counting: Vec<&Approval> = approvals.iter().filter(counts).collect();
    if counting.is_empty() {
        return Err(TokenRow::UserHasNotApproved);
    }
    let approved = |scope: &&String| counting.iter().any(|approval| approval.scopes.contains(scope));
    Ok(app.is.scopes.iter().filter(approved).cloned().collect())
}

/// One scope with two names: it lets an app have refresh tokens.
fn is_for_refreshing(scope: &str) -> bool {
    matches!(scope, "refresh_token" | "offline_access")
}

#[cfg(test)]
mod tests {
    use super::super::settings::{App, Users};
    use super::super::testing::{self, CLIENT_ID, USERNAME};
    use super::*;

    const ALL: [&str; 4] = ["web", "api", "id", "refresh_token"];

    fn judge(permitted_users: PermittedUsers, control: Option<bool>, user: &User) -> Result<String, TokenRow> {
        let mut org = Org::new("00D5g00000SIMU1");
        org.api_access_control = control.is_some();
        let scopes = ALL.map(str::to_owned).to_vec();
        let app = App { permitted_users, scopes, allowlisted: control == Some(true), ..testing::app() };
        org.put_app(app).unwrap();
        let app = org.app(CLIENT_ID).unwrap();
        granted_scopes(&org, &Switches::default(), app, user).map(|scopes| scopes.join(" "))
    }

    #[test]
    fn a_pre_authorised_user_gets_the_apps_scopes_and_others_nothing() {
        let user = User { profile: "Integration".to_owned(), ..User::new(USERNAME) };
        let with_set = User { permission_sets: vec!["Logs".to_owned()], ..User::new(USERNAME) };
        let only = |names: &[&str]| Users::Only(names.iter().map(|&name| name.to_owned()).collect());
        let holding = |names: &[&str]| Users::Holding(names.iter().map(|&name| name.to_owned()).collect());
        for (assigned, user, allowed) in [
            (Users::Everyone, &user, true),
            (only(&["ELF@example.com"]), &user, true),
            (only(&["other@example.com"]), &user, false),
            (holding(&["Integration"]), &user, true),
            (holding(&["Logs"]), &user, false),
            (holding(&["Standard User", "Logs"]), &with_set, true),
            (holding(&[]), &with_set, false),
        ] {
            let verdict = judge(PermittedUsers::AdminApproved { assigned: assigned.clone() }, None, user);
            let expected = if allowed { Ok("web api id".to_owned()) } else { Err(TokenRow::NotAdminApproved) };
            assert_eq!(verdict, expected, "{assigned:?}");
        }
    }

    #[test]
    fn who_authorises_herself_gets_what_she_approved_with_a_refresh_token() {
        let user = User::new(USERNAME);
        for (approvals, expected) in [
            (vec![], Err(TokenRow::UserHasNotApproved)),
            (vec![(USERNAME, "api id")], Err(TokenRow::UserHasNotApproved)),
            (vec![("other@example.com", "api refresh_token")], Err(TokenRow::UserHasNotApproved)),
            (vec![(USERNAME, "api refresh_token")], Ok("api")),
            (vec![(USERNAME, "id offline_access"), (USERNAME, "web"), (USERNAME, "api refresh_token")], Ok("api id")),
            (vec![(USERNAME, "full refresh_token api")], Ok("api")),
            (vec![(USERNAME, "refresh_token")], Err(TokenRow::InvalidScope)),
        ] {
            let approvals = approvals.iter().map(|(name, scopes)| Approval::new(*name, scopes)).collect();
            let verdict = judge(PermittedUsers::SelfAuthorize { approvals }, None, &user);
            assert_eq!(verdict, expected.map(str::to_owned));
        }
    }

    #[test]
    fn api_access_control_opens_listed_apps_and_closes_the_others() {
        let user = User::new(USERNAME);
        let self_authorize = || PermittedUsers::SelfAuthorize { approvals: Vec::new() };
        let unassigned = || PermittedUsers::AdminApproved { assigned: Users::Only(Vec::new()) };
        assert_eq!(judge(self_authorize(), Some(true), &user), Ok("web api id".to_owned()));
        assert_eq!(judge(self_authorize(), Some(false), &user), Err(TokenRow::NotAdminApproved));
        assert_eq!(judge(unassigned(), Some(true), &user), Err(TokenRow::NotAdminApproved));
    }
}
