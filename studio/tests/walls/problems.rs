//! The registry of problems: for people as a page each and a document, and nothing beside it.

use crate::world::World;

#[test]
fn the_document_of_problems_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/problems.md");
    let document = studio::problems::document();
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(path, &document).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == document,
        "problems are not what `docs/problems.md` says; accept it with `cargo x accept` and read the difference"
    );
}

#[tokio::test]
async fn the_type_of_every_problem_leads_to_a_page_about_it() {
    let world = World::new().await;
    for problem in studio::problems::all() {
        let page = world.http.get(format!("{}{}", world.base, problem.uri()));
        let page = page.send().await.unwrap();
        assert_eq!(page.status(), 200, "{problem:?}");
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let text = page.text().await.unwrap().replace("&quot;", "\"");
        assert!(
            text.contains(problem.title()) && text.contains(problem.uri()),
            "{text}"
        );
    }
    let (_, refused) = world.send("GET", "/v1/me", "x.y.z", None).await;
    let followed = format!("{}{}", world.base, refused["type"].as_str().unwrap());
    assert_eq!(world.http.get(followed).send().await.unwrap().status(), 200);
    let (status, _) = world
        .send("GET", "/problems/of-nobody", "x.y.z", None)
        .await;
    assert_eq!(status, 404);
}
