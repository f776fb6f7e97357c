//! The API: repos, names of commits, files, model cards, errors.

use autovalidate_fakes::hub::Options;

use crate::support::{Bench, CLIENTS, read_token};

#[tokio::test]
async fn repos_are_created_found_hidden_moved_and_deleted() {
    for client in CLIENTS {
        Bench::start().await.prove(client, "repos.py", &[]).await;
    }
}

#[tokio::test]
async fn commits_have_branches_tags_and_a_history() {
    for client in CLIENTS {
        Bench::with(|options| Options { page_size: 3, ..options }).await.prove(client, "refs.py", &[]).await;
    }
}

#[tokio::test]
async fn files_are_added_copied_deleted_proposed_and_read() {
    for client in CLIENTS {
        let bench = Bench::with(|options| Options { page_size: 2, ..options }).await;
        bench.prove(client, "files.py", &[]).await;
        let commits = bench.hub.commits("acme/cars").await;
        let last = commits.last().unwrap();
        assert_eq!(last.summary, "Upload folder using huggingface_hub", "{client}");
        assert_eq!(
            last.paths,
            [
                "README.md",
                "docs/a b#c.json",
                "docs/copy.json",
                "docs/new.md",
                "weights/copy.bin",
                "weights/m.bin"
            ],
            "{client}"
        );
    }
}

#[tokio::test]
async fn a_model_card_is_checked_shown_and_updated() {
    for client in CLIENTS {
        Bench::start().await.prove(client, "card.py", &[]).await;
    }
}

#[tokio::test]
async fn errors_have_the_class_the_status_and_the_sentence_of_the_real_hub() {
    for client in CLIENTS {
        let bench = Bench::with(|options| Options { read_token: Some(read_token()), ..options }).await;
        bench.prove(client, "errors.py", &[]).await;
    }
}
