//! The calls of `StewardshipService` about samples that are judged blind.

use tonic::{Request, Response, Status};
use veridem_matchers::estimate::{Estimate, Judged};
use veridem_proto::v1;

use super::{Api, Right, convert, status};
use crate::clock;
use crate::jobs::JobKind;
use crate::resolver::{SAMPLE_PAIRS, SampleResult};
use crate::store::{Judgement, Stratum, WeightCount};

impl Api {
    pub(super) async fn answer_draw_sample(
        &self,
        request: Request<v1::DrawSampleRequest>,
    ) -> Result<Response<v1::DrawSampleResponse>, Status> {
        let caller = self.caller(&request, Right::Operate)?;
        let pairs = request.into_inner().pairs as usize;
        if !SAMPLE_PAIRS.contains(&pairs) {
            return Err(status::invalid("pairs", "must be 10 to 2,000"));
        }
        self.audit(&caller, "DrawSample", Vec::new()).await?;
        let drawn = self.work("DrawSample", move |engine| {
            let mut seed = [0; 8];
            getrandom::fill(&mut seed).map_err(|_| Status::internal("no random bytes"))?;
            let (seed, now_ms) = (u64::from_le_bytes(seed), clock::now_ms());
            let (tenant, principal) = (&caller.tenant, &caller.principal);
            let name = format!("{pairs} pairs");
            let job = engine
                .jobs()
                .begin(tenant, JobKind::Sample, &name, principal);
            let drawn = engine.draw_sample(tenant, pairs, principal, seed, now_ms);
            job.end(&drawn);
            let drawn = drawn.map_err(status::of)?;
            let flushed = engine.store().flush();
            flushed.map_err(|cause| status::of(cause.into()))?;
            Ok(drawn)
        });
        let sample = drawn.await?;
        Ok(Response::new(v1::DrawSampleResponse {
            sample_number: sample.number,
            pairs: sample.pairs.len() as u32,
        }))
    }

    pub(super) async fn answer_get_sampled_pair(
        &self,
        request: Request<v1::GetSampledPairRequest>,
    ) -> Result<Response<v1::GetSampledPairResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let asked = self.ask("GetSampledPair", move |engine| {
            engine.next_sampled_pair(&caller.tenant, &caller.principal)
        });
        let Some(asked) = asked.await? else {
            return Ok(Response::new(Default::default()));
        };
        let [left, right] = asked.records.map(convert::source_record);
        Ok(Response::new(v1::GetSampledPairResponse {
            sample_number: asked.sample,
            place: asked.place as u32,
            left: Some(left),
            right: Some(right),
            judged: asked.progress.0 as u32,
            open: asked.progress.1 as u32,
        }))
    }

    pub(super) async fn answer_judge_sampled_pair(
        &self,
        request: Request<v1::JudgeSampledPairRequest>,
    ) -> Result<Response<v1::JudgeSampledPairResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let is_match = match request.verdict() {
            v1::SampleVerdict::SamePerson => Some(true),
            v1::SampleVerdict::DifferentPersons => Some(false),
            v1::SampleVerdict::CannotTell => None,
            v1::SampleVerdict::Unspecified => {
                return Err(status::invalid("verdict", "is missing"));
            }
        };
        self.audit(&caller, "JudgeSampledPair", Vec::new()).await?;
        let judgement = Judgement {
            principal: caller.principal,
            is_match,
            judged_at_ms: clock::now_ms(),
        };
        let place = (request.sample_number, request.place as usize);
        self.ask("JudgeSampledPair", move |engine| {
            engine.judge_sampled_pair(&caller.tenant, place, judgement)?;
            Ok(engine.store().flush()?)
        })
        .await?;
        Ok(Response::new(Default::default()))
    }

    pub(super) async fn answer_get_quality(
        &self,
        request: Request<v1::GetQualityRequest>,
    ) -> Result<Response<v1::GetQualityResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let result = self.ask("GetQuality", move |engine| {
            engine.sample_result(&caller.tenant)
        });
        let result = result.await?;
        Ok(Response::new(result.map(quality).unwrap_or_default()))
    }
}

fn quality(result: SampleResult) -> v1::GetQualityResponse {
    let (sample_number, drawn_by, drawn_at_ms) = result.drawn;
    v1::GetQualityResponse {
        sample_number,
        drawn_by,
        drawn_at_ms,
        strata: result.strata.into_iter().map(stratum).collect(),
        precision: Some(interval(result.precision)),
        recall: Some(interval(result.recall)),
        judged_twice: result.twice.0,
        agreed: result.twice.1,
        kappa: result.kappa,
        gold_judged: result.gold.0,
        gold_right: result.gold.1,
        cannot_tell: result.unsure,
        open: result.open,
        weights: result.weights.into_iter().map(weight_count).collect(),
    }
}

fn stratum((stratum, judged): (Stratum, Judged)) -> v1::StratumResult {
    let stratum = match stratum {
        Stratum::TogetherSure => v1::SampleStratum::TogetherSure,
        Stratum::TogetherUnsure => v1::SampleStratum::TogetherUnsure,
        Stratum::ApartDoubtful => v1::SampleStratum::ApartDoubtful,
        Stratum::ApartBelow => v1::SampleStratum::ApartBelow,
        Stratum::Gold { .. } => v1::SampleStratum::Unspecified,
    };
    v1::StratumResult {
        stratum: stratum.into(),
        population: judged.population,
        judged: judged.judged,
        same: judged.same,
    }
}

fn weight_count(count: WeightCount) -> v1::WeightCount {
    v1::WeightCount {
        from: count.from.into(),
        together: count.together,
        apart: count.apart,
    }
}

fn interval(estimate: Estimate) -> v1::Interval {
    v1::Interval {
        value: estimate.value,
        low: estimate.low,
        high: estimate.high,
    }
}
