//! Rights that are tried before they count: what they would change is counted and told once, and nothing changes.

use std::fs;

use crate::support::plan::CALLER;
use crate::support::reply::Reply;
use crate::support::stage::Stage;
use crate::support::until;

async fn counted(stage: &Stage, metric: &str, integration: &str) -> u64 {
    stage.metric(&format!("aquila_{metric}_total{{caller=\"{CALLER}\",integration=\"{integration}\"}}")).await
}

fn told(stage: &Stage) -> usize {
    fs::read_to_string(stage.file("stderr.txt")).unwrap().matches("next_integrations would refuse").count()
}

#[tokio::test]
async fn next_rights_let_nothing_through_and_take_nothing_away_and_what_they_would_change_is_known() {
    let plan = Stage::plan().integration("crm-live").integration("elf-uat");
    let plan = plan.caller_line(CALLER, r#"next_integrations = ["elf-uat", "crm-*"]"#).in_own_process();
    let stage = plan.start().await;
    for _ in 0..3 {
        stage.ask_for("elf-prod").await.token();
        stage.ask_for("elf-uat").await.token();
        assert_eq!(stage.ask_for("crm-live").await.refusal(), (403, "access_denied".to_owned()));
        assert_eq!(stage.ask_for("crm-none").await.refusal(), (403, "access_denied".to_owned()));
    }
    assert_eq!(counted(&stage, "next_denials", "elf-prod").await, 3);
    assert_eq!(counted(&stage, "next_denials", "elf-uat").await, 0, "both rules allow it");
    assert_eq!(counted(&stage, "next_grants", "crm-live").await, 3);
    assert_eq!(told(&stage), 1, "once, and not per request");

    // A reload that leaves these rights alone is no change of state; one that changes them is.
    let (file, before) = (stage.file("aquila.toml"), fs::read_to_string(stage.file("aquila.toml")).unwrap());
    fs::write(&file, format!("{before}\n[callers.other]\nintegrations = [\"crm-*\"]\n")).unwrap();
    let applied = "aquila_config_reloads_total{outcome=\"applied\"}";
    until("the reload is applied", async || stage.metric(applied).await == 1).await;
    stage.ask_for("elf-prod").await.token();
    assert_eq!(told(&stage), 1);
    fs::write(&file, before.replace(r#""elf-uat", "crm-*""#, r#""elf-u*", "crm-*""#)).unwrap();
    until("the other rights are tried", async || {
        stage.ask_for("elf-prod").await.token();
        told(&stage) == 2
    })
    .await;
}

#[tokio::test]
async fn a_request_that_names_nothing_and_a_report_are_tried_too() {
    let plan = Stage::plan().integration("elf-uat").integration("crm-live").caller("sync", &["crm-*"]);
    let stage = plan.caller_line("sync", r#"next_integrations = ["*"]"#).start().await;
    let key = stage.key("sync").to_owned();
    // It has one integration now and would have three: its request would be no longer clear.
    let token = Reply::of(stage.get("/token").bearer_auth(&key)).await.token();
    let series = "aquila_next_denials_total{caller=\"sync\",integration=\"crm-live\"}";
    assert_eq!(stage.metric(series).await, 1);
    // Reports and introspections make use of a right as well; this one would stay.
    let url = format!("http://{}/introspect", stage.broker().callers);
    let form = stage.http.post(url).header("content-type", "application/x-www-form-urlencoded");
    let reply = Reply::of(form.bearer_auth(&key).body(format!("token={}", token.text))).await;
    assert_eq!(reply.json()["active"], true);
    assert_eq!(stage.metric(series).await, 1);
}
