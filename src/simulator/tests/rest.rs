//! What tokens open, and who may ask about them, over a real socket.

use std::time::Duration;

use serde_json::json;

use super::super::testing::{CLIENT_ID, Rig, USERNAME, app, settings};
use super::super::{App, EventLogs, Settings, Switches, User};

#[tokio::test]
async fn the_versions_need_no_token_and_nothing_else_goes_without() {
    let rig = Rig::start(settings()).await;
    for path in ["/services/data", "/services/data/"] {
        let reply = rig.send(rig.http.get(format!("{}{path}", rig.simulator.base_url()))).await.unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()[29]["label"], "Spring '24 (SIMULATED)");
    }
    let dead = json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]);
    for path in ["/services/data/v60.0/", "/services/data/v60.0/query?q=SELECT", "/services/data/v1.0/nothing"] {
        let reply = rig.get("00D5g00000SIMU1!guessed", path).await;
        assert_eq!((reply.status, reply.json()), (401, dead.clone()), "{path}");
    }
}

#[tokio::test]
async fn only_a_successful_call_keeps_a_session_alive() {
    let settings = Settings { session_timeout: Duration::from_secs(900), ..settings() };
    let rig = Rig::start(settings).await;
    let token = rig.mint().await;
    rig.simulator.advance_clock(Duration::from_secs(500));
    assert_eq!(rig.get(&token, "/services/data/v60.0/nothing").await.status, 404);
    rig.simulator.advance_clock(Duration::from_secs(450));
    assert_eq!(rig.get(&token, "/services/data/v60.0/").await.status, 401);
}

#[tokio::test]
async fn a_user_without_api_enabled_gets_a_token_that_opens_nothing() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    rig.simulator.put_user(User { api_enabled: false, ..User::new(USERNAME) });
    let reply = rig.get(&token, "/services/data/v60.0/").await;
    assert_eq!((reply.status, reply.json()[0]["errorCode"].clone()), (403, json!("API_DISABLED_FOR_ORG")));
}

#[tokio::test]
async fn userinfo_tells_who_it_is_or_says_bad_oauth_token_in_plain_text() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let who = rig.get(&token, "/services/oauth2/userinfo").await;
    assert_eq!((who.status, who.json()["preferred_username"].clone()), (200, json!(USERNAME)));
    let identity = who.json()["sub"].as_str().unwrap().replace(&rig.simulator.base_url(), "");
    assert_eq!(rig.get(&token, &identity).await.json()["user_id"], who.json()["user_id"]);
    rig.simulator.kill_sessions(Some(USERNAME));
    for path in ["/services/oauth2/userinfo", &identity] {
        let dead = rig.get(&token, path).await;
        assert_eq!((dead.status, dead.body.as_str()), (403, "Bad_OAuth_Token"));
        assert!(dead.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    }
}

#[tokio::test]
async fn event_log_files_are_found_by_query_and_read_as_csv() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let plus =
        "SELECT+Id,CreatedDate,LogDate,LogFile+FROM+EventLogFile+WHERE+Interval+=+'Hourly'+AND+EventType+=+'Login'";
    let percent = plus.replace('+', "%20");
    let first = rig.get(&token, &format!("/services/data/v60.0/query/?q={plus}")).await;
    let second = rig.get(&token, &format!("/services/data/v60.0/query?q={percent}")).await;
    assert_eq!((first.status, first.json()), (200, second.json()));
    let answer = first.json();
    assert_eq!((answer["done"].clone(), answer["totalSize"].as_u64() > Some(20)), (json!(true), true));
    let record = &answer["records"][0];
    assert_eq!(record["attributes"]["type"], "EventLogFile");
    let path = record["LogFile"].as_str().unwrap();
    assert!(path.starts_with("/services/data/v60.0/sobjects/EventLogFile/0AT"), "{path}");

    let file = rig.get(&token, path).await;
    assert!(file.headers["content-type"].to_str().unwrap().starts_with("text/csv"));
    assert_eq!(file.body.lines().count(), 6);
    assert!(file.body.starts_with("\"EVENT_TYPE\",") && file.body.contains("\"Login\","));
    assert_eq!(rig.get("nobody", path).await.status, 401);
}

#[tokio::test]
async fn rights_decide_what_a_query_sees() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let mut seen = Vec::new();
    for (view_event_log_files, view_all_data) in [(true, false), (false, true), (false, false)] {
        rig.simulator.put_user(User { view_event_log_files, view_all_data, ..User::new(USERNAME) });
        let query = "/services/data/v60.0/query?q=SELECT+PermissionsApiEnabled,PermissionsViewEventLogFiles,\
                     PermissionsViewAllData+FROM+UserPermissionAccess";
        let rights = rig.get(&token, query).await.json()["records"][0].clone();
        assert_eq!(rights["PermissionsViewEventLogFiles"], view_event_log_files);
        assert_eq!(rights["PermissionsViewAllData"], view_all_data);
        seen.push(rig.get(&token, "/services/data/v60.0/query?q=SELECT+COUNT()+FROM+EventLogFile").await);
    }
    assert_eq!(seen.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200, 400]);
    let refusal = seen[2].json();
    assert_eq!(refusal[0]["errorCode"], "INVALID_TYPE");
    assert!(refusal[0]["message"].as_str().unwrap().starts_with("sObject type 'EventLogFile' is not supported."));
}

#[tokio::test]
async fn an_org_without_hourly_files_does_not_know_the_column() {
    let event_logs = EventLogs { hourly: false, ..EventLogs::default() };
    let rig = Rig::start(Settings { event_logs, ..settings() }).await;
    let token = rig.mint().await;
    let reply = rig.get(&token, "/services/data/v60.0/query?q=SELECT+Id,Interval+FROM+EventLogFile").await;
    assert_eq!((reply.status, reply.json()[0]["errorCode"].clone()), (400, json!("INVALID_FIELD")));
    let message = reply.json()[0]["message"].clone();
    assert!(message.as_str().unwrap().contains("No such column 'Interval' on entity 'EventLogFile'"), "{message}");
}

#[tokio::test]
async fn the_other_resources_answer() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let limits = rig.get(&token, "/services/data/v60.0/limits/").await.json();
    assert!(limits["DailyApiRequests"]["Remaining"].as_u64() < limits["DailyApiRequests"]["Max"].as_u64());
    let user_id = rig.get(&token, "/services/oauth2/userinfo").await.json()["user_id"].clone();
    let user = rig.get(&token, &format!("/services/data/v51.0/sobjects/User/{}", user_id.as_str().unwrap())).await;
    assert_eq!((user.status, user.json()["Username"].clone()), (200, json!(USERNAME)));
    let nothing = rig.get(&token, "/services/data/v60.0/query").await;
    assert_eq!(nothing.json()[0]["errorCode"], "MALFORMED_QUERY");
}

#[tokio::test]
async fn introspection_wants_the_apps_secret_and_revocation_ends_the_session_for_all() {
    let app = App { client_secret: Some("s3cret".to_owned()), ..app() };
    let rig = Rig::start(Settings { apps: vec![app], ..settings() }).await;
    let token = rig.mint().await;
    let form = |path: &str, body: String| {
        let request = rig.http.post(format!("{}/services/oauth2/{path}", rig.simulator.base_url()));
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    let client = format!("client_id={CLIENT_ID}&client_secret=s3cret");
    let alive = rig.send(form("introspect", format!("token={token}&{client}"))).await.unwrap().json();
    assert_eq!((alive["active"].clone(), alive["username"].clone()), (json!(true), json!(USERNAME)));
    assert_eq!(alive["exp"].as_i64().unwrap() - alive["iat"].as_i64().unwrap(), 7200);
    let basic = form("introspect", format!("token={token}")).basic_auth(CLIENT_ID, Some("s3cret"));
    assert_eq!(rig.send(basic).await.unwrap().json()["active"], true);
    for wrong in [String::new(), format!("client_id={CLIENT_ID}&client_secret=guess"), "client_id=x".to_owned()] {
        let refused = rig.send(form("introspect", format!("token={token}&{wrong}"))).await.unwrap();
        assert_eq!((refused.status, refused.json()["error"].clone()), (400, json!("invalid_client")));
    }
    let revoked = rig.send(form("revoke", format!("token={token}"))).await.unwrap();
    assert_eq!((revoked.status, revoked.body.as_str()), (200, ""));
    assert_eq!(rig.send(form("revoke", format!("token={token}"))).await.unwrap().status, 400);
    let dead = rig.send(form("introspect", format!("token={token}&{client}"))).await.unwrap().json();
    assert_eq!(dead, json!({"active": false}));
    assert_ne!(rig.mint().await, token);
}

#[tokio::test]
async fn a_long_answer_comes_in_batches() {
    let rig = Rig::start(Settings { query_batch: 50, ..settings() }).await;
    let token = rig.mint().await;
    let mut path = "/services/data/v60.0/query?q=SELECT+Id+FROM+EventLogFile".to_owned();
    let mut ids = std::collections::BTreeSet::new();
    loop {
        let batch = rig.get(&token, &path).await.json();
        let records = batch["records"].as_array().unwrap();
        assert!(records.len() <= 50);
        ids.extend(records.iter().map(|record| record["Id"].as_str().unwrap().to_owned()));
        match batch["nextRecordsUrl"].as_str() {
            Some(next) => next.clone_into(&mut path),
            None => break assert_eq!(batch["totalSize"].as_u64().unwrap(), ids.len() as u64),
        }
    }
    assert!(ids.len() > 100);
    let described = rig.get(&token, "/services/data/v60.0/sobjects/EventLogFile/describe").await.json();
    assert_eq!(described["fields"][0]["name"], "Id");
}

#[tokio::test]
async fn a_query_tells_its_columns_when_asked() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let query = "/services/data/v60.0/query?q=SELECT%20Id,EventType%20FROM%20EventLogFile%20LIMIT%201&columns=true";
    let told = rig.get(&token, query).await.json();
    let names: Vec<_> = told["columnMetadata"].as_array().unwrap().iter().map(|column| &column["columnName"]).collect();
    assert_eq!((names, &told["entityName"]), (vec![&json!("Id"), &json!("EventType")], &json!("EventLogFile")));
    assert_eq!(rig.get(&token, &query.replace("EventType", "Nothing")).await.status, 400);
    let records = rig.get(&token, &query.replace("=true", "=false")).await.json();
    assert!(records["records"][0]["Id"].is_string());
}

#[tokio::test]
async fn every_object_in_the_list_can_be_described_and_queried() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let root = rig.get(&token, "/services/data/v60.0").await.json();
    let list = rig.get(&token, root["sobjects"].as_str().unwrap()).await.json();
    let objects = list["sobjects"].as_array().unwrap();
    let names: Vec<&str> = objects.iter().map(|object| object["name"].as_str().unwrap()).collect();
    assert!(
        ["EventLogFile", "LoginEvent", "Organization", "User"].iter().all(|name| names.contains(name)),
        "{names:?}"
    );
    for object in objects {
        let name = object["name"].as_str().unwrap();
        let described = rig.get(&token, object["urls"]["describe"].as_str().unwrap()).await.json();
        let summary = rig.get(&token, object["urls"]["sobject"].as_str().unwrap()).await.json();
        assert_eq!((&described["name"], &summary["objectDescribe"]["name"]), (&json!(name), &json!(name)));
        let fields: Vec<&str> =
            described["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
        let query = format!("/services/data/v60.0/query?q=SELECT+FIELDS(STANDARD)+FROM+{name}+LIMIT+1");
        let answer = rig.get(&token, &query).await.json();
        for field in fields {
            assert!(answer["records"][0].get(field).is_some(), "{name}.{field}");
        }
    }
    rig.simulator.put_user(User { view_event_log_files: false, ..User::new(USERNAME) });
    let list = rig.get(&token, "/services/data/v60.0/sobjects").await.body;
    assert!(!list.contains("\"EventLogFile\"") && !list.contains("\"LoginEvent\"") && list.contains("\"User\""));
}

#[tokio::test]
async fn what_the_official_command_line_asks_at_login_is_answered() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let organization = "SELECT+Name,InstanceName,IsSandbox,TrialExpirationDate,NamespacePrefix,OrganizationType+FROM+\
                        Organization";
    let answer = rig.get(&token, &format!("/services/data/v60.0/query?q={organization}")).await.json();
    assert_eq!((&answer["totalSize"], &answer["records"][0]["IsSandbox"]), (&json!(1), &json!(false)));
    assert_eq!(answer["records"][0]["TrialExpirationDate"], json!(null));
    // No Dev Hub: the object does not exist, which the client takes for a no.
    let scratch = rig.get(&token, "/services/data/v51.0/query?q=SELECT+Id+FROM+ScratchOrgInfo+limit+1").await;
    assert_eq!((scratch.status, scratch.json()[0]["errorCode"].clone()), (400, json!("INVALID_TYPE")));

    let identity = rig.get(&token, "/services/data/v60.0").await.json()["identity"].as_str().unwrap().to_owned();
    let by_parameter = format!("{identity}?format=json&oauth_token={}", token.replace('!', "%21"));
    let who = rig.send(rig.http.get(by_parameter)).await.unwrap().json();
    assert_eq!(who["username"], USERNAME);
    assert_eq!(rig.send(rig.http.get(format!("{identity}?oauth_token=x"))).await.unwrap().status, 403);
}

#[tokio::test]
async fn real_time_logins_are_asked_by_their_time() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let this_hour = rig.now() / 3600 * 3600;
    let at = |hours: i64| jiff::Timestamp::from_second(this_hour - hours * 3600).unwrap();
    let query =
        format!("SELECT+FIELDS(STANDARD)+FROM+LoginEvent+WHERE+EventDate+>=+{}+AND+EventDate+<+{}", at(26), at(2));
    let answer = rig.get(&token, &format!("/services/data/v60.0/query?q={query}")).await.json();
    assert_eq!(answer["totalSize"], 120);
    let record = &answer["records"][0];
    assert!(record["Username"].as_str().unwrap().ends_with("@simulated.example"));
    let unseen = User { view_event_log_files: false, ..User::new(USERNAME) };
    rig.simulator.put_user(unseen);
    assert_eq!(rig.get(&token, &format!("/services/data/v60.0/query?q={query}")).await.status, 400);
}

#[tokio::test]
async fn answers_come_in_pieces_when_switched_so_and_say_the_same() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let whole = rig.get(&token, "/services/oauth2/userinfo").await;
    assert!(whole.headers.contains_key("content-length"));
    rig.simulator.set_switches(Switches { answers_chunked: true, ..Switches::default() });
    let pieces = rig.get(&token, "/services/oauth2/userinfo").await;
    assert_eq!((pieces.body, pieces.headers["transfer-encoding"].to_str().unwrap()), (whole.body, "chunked"));
    assert!(!pieces.headers.contains_key("content-length"));
    assert_eq!(rig.mint().await, token);
}
