//! Samples that stewards judge blind.

use tonic::Code;
use veridem::config::{Config, Role};
use veridem_proto::v1;
use veridem_proto::v1::{SampleStratum, SampleVerdict};

use crate::queue::{Judge, ann_and_bob, as_ann, as_bob, doubt, grow, stewards};
use crate::support::*;

/// Somebody who judges everything that is left for them; how much that was.
async fn judge_all(
    judge: &mut Judge,
    verdict: impl Fn(&v1::GetSampledPairResponse) -> SampleVerdict,
) -> u64 {
    for judged in 0.. {
        let asked = judge.get_sampled_pair(v1::GetSampledPairRequest {}).await;
        let asked = asked.expect("answered").into_inner();
        if asked.left.is_none() {
            return judged;
        }
        assert_eq!(u64::from(asked.judged), judged);
        let said = v1::JudgeSampledPairRequest {
            sample_number: asked.sample_number,
            place: asked.place,
            verdict: verdict(&asked).into(),
        };
        judge.judge_sampled_pair(said).await.expect("taken");
    }
    unreachable!("a sample has an end")
}

/// The number with which the records of one of our persons end: `pos/3` and `shop/3-1` are of 3.
fn person(record: &Option<v1::SourceRecord>) -> String {
    let key = record.as_ref().and_then(|record| record.record.as_ref());
    let key = key.expect("a record");
    key.record_id
        .split('-')
        .next()
        .expect("a number")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn judged_pairs_tell_precision_and_recall_and_how_far_judges_agree() {
    let directory = tempfile::tempdir().expect("a folder");
    let open = Running::start(directory.path()).await;
    let families = [
        "Lindqvist",
        "Abernathy",
        "Castellano",
        "Dombrowski",
        "Eichelberger",
        "Fitzsimmons",
    ];
    for (number, family) in families.into_iter().enumerate() {
        doubt(&open, number, family, ["pos", "shop"]).await;
        grow(&open, number, family, "pos", 3).await;
    }
    open.stop().await;
    let running = Running::start_with(Config {
        principals: ann_and_bob(Role::Lead),
        ..config(directory.path())
    })
    .await;
    let mut ann = stewards(&running, as_ann).await;
    let mut bob = stewards(&running, as_bob).await;
    let none = ann
        .get_quality(v1::GetQualityRequest {})
        .await
        .expect("answered")
        .into_inner();
    assert_eq!(none.sample_number, 0);
    let few = ann.draw_sample(v1::DrawSampleRequest { pairs: 9 }).await;
    assert_eq!(few.expect_err("too few").code(), Code::InvalidArgument);
    let drawn = ann.draw_sample(v1::DrawSampleRequest { pairs: 60 }).await;
    let drawn = drawn.expect("drawn").into_inner();
    assert_eq!(drawn.sample_number, 1);

    // Ann knows the truth; bob takes everything for one person.
    let judged = judge_all(&mut ann, |asked| {
        match person(&asked.left) == person(&asked.right) {
            true => SampleVerdict::SamePerson,
            false => SampleVerdict::DifferentPersons,
        }
    });
    let judged = judged.await;
    assert_eq!(judged, u64::from(drawn.pairs));
    let told = ann
        .get_quality(v1::GetQualityRequest {})
        .await
        .expect("answered")
        .into_inner();
    let precision = told.precision.expect("an estimate");
    assert_eq!(precision.value, 1.0, "{:?}", told.strata);
    assert!(precision.low > 0.5 && precision.high == 1.0);
    let of = |stratum| {
        told.strata
            .iter()
            .find(|of| of.stratum() == stratum)
            .expect("a stratum")
    };
    // Six doubtful pairs of one person each are not held together.
    let doubtful = of(SampleStratum::ApartDoubtful);
    assert!(
        doubtful.judged > 0 && doubtful.same == doubtful.judged,
        "{doubtful:?}"
    );
    let together: u64 = [SampleStratum::TogetherSure, SampleStratum::TogetherUnsure]
        .map(|stratum| of(stratum).population)
        .iter()
        .sum();
    let recall = told.recall.expect("an estimate");
    assert!(recall.low < recall.value && recall.value < recall.high && recall.high <= 1.0);
    let missed = doubtful.population as f64;
    let most = together as f64 / (together as f64 + missed);
    assert!(recall.value <= most + 1e-9, "{recall:?} {most}");
    assert!(told.open > 0, "some wait for a second judge");

    let of_bob = judge_all(&mut bob, |_| SampleVerdict::SamePerson).await;
    assert_eq!(of_bob, told.open);
    let told = bob
        .get_quality(v1::GetQualityRequest {})
        .await
        .expect("answered")
        .into_inner();
    assert_eq!((told.open, told.judged_twice), (0, of_bob));
    assert!(told.agreed <= told.judged_twice);
    assert_eq!(
        told.precision.expect("an estimate").value,
        1.0,
        "the first judge counts"
    );

    // Another sample takes its place, with what was decided as gold.
    let tasks = ann
        .list_review_tasks(v1::ListReviewTasksRequest::default())
        .await;
    let task = tasks.expect("lists").into_inner().review_tasks.remove(0);
    let decided = v1::DecideReviewTaskRequest {
        review_task_id: task.review_task_id,
        decision: v1::StewardDecision::SamePerson.into(),
        call: Some(v1::StewardCall {
            idempotency_key: "1".into(),
            ..v1::StewardCall::default()
        }),
    };
    ann.decide_review_task(decided).await.expect("decided");
    let again = ann.draw_sample(v1::DrawSampleRequest { pairs: 60 }).await;
    assert_eq!(again.expect("drawn").into_inner().sample_number, 2);
    let late = v1::JudgeSampledPairRequest {
        sample_number: 1,
        place: 0,
        verdict: SampleVerdict::SamePerson.into(),
    };
    let late = ann
        .judge_sampled_pair(late)
        .await
        .expect_err("another one was drawn");
    assert_eq!(late.code(), Code::FailedPrecondition);
    judge_all(&mut bob, |_| SampleVerdict::SamePerson).await;
    let told = ann
        .get_quality(v1::GetQualityRequest {})
        .await
        .expect("answered")
        .into_inner();
    assert_eq!((told.gold_judged, told.gold_right), (1, 1));
}
