//! `StewardshipService`.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use tonic::{Request, Response, Status};
use veridem_proto::v1;
use veridem_proto::v1::decided_review_task::Result as DecidedResult;
use veridem_proto::v1::stewardship_service_server::StewardshipService;

use super::decisions::{at_most_a_thousand, identity_ids, is_match, record_keys, value_mark};
use super::resolution::identity_id;
use super::{Api, Right, convert, page, status};
use crate::clock;
use crate::resolver::{StewardAction, TaskFilter, validate_id};
use crate::store::{ReviewReason, StoredIdentity, StoredReviewTask, Tenant};

const MAX_SOURCES: usize = 100;

#[tonic::async_trait]
impl StewardshipService for Api {
    async fn list_review_tasks(
        &self,
        request: Request<v1::ListReviewTasksRequest>,
    ) -> Result<Response<v1::ListReviewTasksResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        let most = if request.include_identities {
            100
        } else {
            1_000
        };
        let size = page::size(request.page_size, 100, most)?;
        let after = page::place(&request.page_token)?;
        let filter = self.task_filter(&caller.tenant, &request)?;
        let claims = self.claims.clone();
        let response = self.ask("ListReviewTasks", move |engine| {
            let (tenant, now_ms) = (&caller.tenant, clock::now_ms());
            let wants = |task: &StoredReviewTask| {
                let claim = claims.of(tenant, &task.id, now_ms);
                let by = claim.as_ref().map(|claim| claim.principal.as_str());
                (!request.leave_out_claimed || by.is_none_or(|by| by == caller.principal))
                    && (request.claimed_by.is_empty() || by == Some(&request.claimed_by))
            };
            let page = engine.review_tasks(tenant, after, size, &filter, wants)?;
            let identity_of = |number| engine.identity_of(tenant, number);
            let mut review_tasks = Vec::with_capacity(page.tasks.len());
            let mut identities = Vec::new();
            let mut seen = FxHashSet::default();
            for task in &page.tasks {
                let ids = (identity_of(task.records.0)?, identity_of(task.records.1)?);
                for id in [ids.0, ids.1].into_iter().flatten() {
                    if request.include_identities
                        && seen.insert(id)
                        && let Some(identity) = engine.store().identity(tenant, &id)?
                    {
                        identities.push(convert::identity(&identity));
                    }
                }
                let claim = claims.of(tenant, &task.id, now_ms);
                review_tasks.push(convert::review_task(task, ids, claim));
            }
            Ok(v1::ListReviewTasksResponse {
                review_tasks,
                next_page_token: page
                    .next
                    .map_or_else(String::new, |next| page::token(&next)),
                identities,
            })
        });
        Ok(Response::new(response.await?))
    }

    async fn claim_review_task(
        &self,
        request: Request<v1::ClaimReviewTaskRequest>,
    ) -> Result<Response<v1::ClaimReviewTaskResponse>, Status> {
        let assigns = !request.get_ref().assignee.is_empty();
        let right = match assigns {
            true => Right::Operate,
            false => Right::Decide,
        };
        let caller = self.caller(&request, right)?;
        let request = request.into_inner();
        let id = request.review_task_id;
        validate_id("review_task_id", &id).map_err(status::of)?;
        if assigns {
            validate_id("assignee", &request.assignee).map_err(status::of)?;
            let why = format!("task {id} to {}", request.assignee);
            self.audit_because(&caller, "ClaimReviewTask", Vec::new(), why)
                .await?;
        }
        let claims = self.claims.clone();
        let claim = self.ask("ClaimReviewTask", move |engine| {
            engine.open_task(&caller.tenant, &id)?;
            let now_ms = clock::now_ms();
            match assigns {
                true => Ok(claims.assign(&caller.tenant, &id, &request.assignee, now_ms)),
                false => claims.claim(&caller.tenant, &id, &caller.principal, now_ms),
            }
        });
        Ok(Response::new(v1::ClaimReviewTaskResponse {
            claim: Some(convert::review_claim(claim.await?)),
        }))
    }

    async fn release_review_task(
        &self,
        request: Request<v1::ReleaseReviewTaskRequest>,
    ) -> Result<Response<v1::ReleaseReviewTaskResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let id = request.into_inner().review_task_id;
        let released = self.claims.release(&caller.tenant, &id, &caller.principal);
        Ok(Response::new(v1::ReleaseReviewTaskResponse { released }))
    }

    async fn get_review_task(
        &self,
        request: Request<v1::GetReviewTaskRequest>,
    ) -> Result<Response<v1::GetReviewTaskResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let id = request.into_inner().review_task_id;
        validate_id("review_task_id", &id).map_err(status::of)?;
        let claim = self.claims.of(&caller.tenant, &id, clock::now_ms());
        let reviewed = self.ask("GetReviewTask", move |engine| {
            engine.review_task(&caller.tenant, &id)
        });
        let reviewed = reviewed.await?;
        let [left, right] = reviewed.records.map(convert::source_record);
        let [left_identity, right_identity] = reviewed.identities;
        let message =
            |identity: Option<Arc<StoredIdentity>>| identity.as_deref().map(convert::identity);
        let answer = reviewed.answer;
        Ok(Response::new(v1::GetReviewTaskResponse {
            review_task: Some(convert::review_task(
                &reviewed.task,
                answer.identities,
                claim,
            )),
            left: Some(left),
            right: Some(right),
            left_identity: message(left_identity),
            right_identity: message(right_identity),
            explanation: Some(convert::explanation(
                &answer.explanation,
                answer.shared_blocking_rules,
                answer.word,
            )),
            why_not: answer.why_not,
        }))
    }

    async fn decide_review_task(
        &self,
        request: Request<v1::DecideReviewTaskRequest>,
    ) -> Result<Response<v1::DecideReviewTaskResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let is_match = is_match(request.decision())?;
        let call = self.call(request.call)?;
        let decided = self.decide_task(
            "DecideReviewTask",
            caller,
            request.review_task_id,
            is_match,
            call,
        );
        Ok(Response::new(v1::DecideReviewTaskResponse {
            outcome: Some(decided.await?),
        }))
    }

    async fn decide_review_tasks(
        &self,
        request: Request<v1::DecideReviewTasksRequest>,
    ) -> Result<Response<v1::DecideReviewTasksResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let is_match = is_match(request.decision())?;
        let ids = request.review_task_ids;
        at_most_a_thousand("review_task_ids", ids.len())?;
        if ids.is_empty() || ids.iter().collect::<FxHashSet<_>>().len() < ids.len() {
            return Err(status::invalid(
                "review_task_ids",
                "must be some, none twice",
            ));
        }
        let call = self.call(request.call)?;
        if call.names_versions() {
            let problem = "must be empty: each decision may change identities of the next";
            return Err(status::invalid("call.expected_versions", problem));
        }
        let mut decided = Vec::with_capacity(ids.len());
        for id in ids {
            let own = call.of_one(&id);
            let name = "DecideReviewTasks";
            let result = self.decide_task(name, caller.clone(), id.clone(), is_match, own);
            decided.push(v1::DecidedReviewTask {
                review_task_id: id,
                result: Some(match result.await {
                    Ok(outcome) => DecidedResult::Outcome(outcome),
                    Err(status) => DecidedResult::Problem(status.message().to_owned()),
                }),
            });
        }
        Ok(Response::new(v1::DecideReviewTasksResponse { decided }))
    }

    async fn merge_identities(
        &self,
        request: Request<v1::MergeIdentitiesRequest>,
    ) -> Result<Response<v1::MergeIdentitiesResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let action = StewardAction::Merge(identity_ids(request.identity_ids)?);
        let call = self.call(request.call)?;
        let outcome = self.decide("MergeIdentities", caller, action, call).await?;
        Ok(Response::new(v1::MergeIdentitiesResponse {
            outcome: Some(outcome),
        }))
    }

    async fn split_identity(
        &self,
        request: Request<v1::SplitIdentityRequest>,
    ) -> Result<Response<v1::SplitIdentityResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let id = identity_id(request.identity_id)?;
        let records = record_keys("records", request.records)?;
        let (action, call) = (StewardAction::Split(id, records), self.call(request.call)?);
        let outcome = self.decide("SplitIdentity", caller, action, call).await?;
        Ok(Response::new(v1::SplitIdentityResponse {
            outcome: Some(outcome),
        }))
    }

    async fn set_override(
        &self,
        request: Request<v1::SetOverrideRequest>,
    ) -> Result<Response<v1::SetOverrideResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        at_most_a_thousand("groups", request.groups.len())?;
        let groups = request.groups.into_iter().enumerate();
        let groups = groups
            .map(|(index, group)| record_keys(&format!("groups[{index}].records"), group.records))
            .collect::<Result<_, _>>()?;
        let (action, call) = (StewardAction::Override(groups), self.call(request.call)?);
        let outcome = self.decide("SetOverride", caller, action, call).await?;
        Ok(Response::new(v1::SetOverrideResponse {
            outcome: Some(outcome),
        }))
    }

    async fn pin_value(
        &self,
        request: Request<v1::PinValueRequest>,
    ) -> Result<Response<v1::PinValueResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let record = convert::record_key("record", request.record)?;
        validate_id("slot", &request.slot).map_err(status::of)?;
        let action = StewardAction::Pin(record, request.slot);
        let call = self.call(request.call)?;
        let outcome = self.decide("PinValue", caller, action, call).await?;
        Ok(Response::new(v1::PinValueResponse {
            outcome: Some(outcome),
        }))
    }

    async fn mark_value(
        &self,
        request: Request<v1::MarkValueRequest>,
    ) -> Result<Response<v1::MarkValueResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let mark = value_mark(request.mark())?;
        let record = convert::record_key("record", request.record)?;
        let value = request.value.unwrap_or_default();
        let value = convert::attribute(|| "value".to_owned(), value).map_err(status::of)?;
        let action = StewardAction::Mark(record, value, mark);
        let call = self.call(request.call)?;
        let outcome = self.decide("MarkValue", caller, action, call).await?;
        Ok(Response::new(v1::MarkValueResponse {
            outcome: Some(outcome),
        }))
    }

    async fn make_household(
        &self,
        request: Request<v1::MakeHouseholdRequest>,
    ) -> Result<Response<v1::MakeHouseholdResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let action = StewardAction::Household(identity_ids(request.identity_ids)?);
        let call = self.call(request.call)?;
        let outcome = self.decide("MakeHousehold", caller, action, call).await?;
        Ok(Response::new(v1::MakeHouseholdResponse {
            outcome: Some(outcome),
        }))
    }

    async fn get_household(
        &self,
        request: Request<v1::GetHouseholdRequest>,
    ) -> Result<Response<v1::GetHouseholdResponse>, Status> {
        self.answer_get_household(request).await
    }

    async fn undo_override(
        &self,
        request: Request<v1::UndoOverrideRequest>,
    ) -> Result<Response<v1::UndoOverrideResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let action = StewardAction::Undo(request.override_number);
        let call = self.call(request.call)?;
        call.gives_no_reason()?;
        let outcome = self.decide("UndoOverride", caller, action, call).await?;
        Ok(Response::new(v1::UndoOverrideResponse {
            outcome: Some(outcome),
        }))
    }

    async fn approve_override(
        &self,
        request: Request<v1::ApproveOverrideRequest>,
    ) -> Result<Response<v1::ApproveOverrideResponse>, Status> {
        let caller = self.caller(&request, Right::Decide)?;
        let request = request.into_inner();
        let action = StewardAction::Approve(request.override_number);
        let call = self.call(request.call)?;
        call.gives_no_reason()?;
        let outcome = self.decide("ApproveOverride", caller, action, call).await?;
        Ok(Response::new(v1::ApproveOverrideResponse {
            outcome: Some(outcome),
        }))
    }

    async fn get_stewardship_settings(
        &self,
        request: Request<v1::GetStewardshipSettingsRequest>,
    ) -> Result<Response<v1::GetStewardshipSettingsResponse>, Status> {
        self.caller(&request, Right::Read)?;
        let limit = self.stewardship.four_eyes_above;
        Ok(Response::new(v1::GetStewardshipSettingsResponse {
            reasons: self.stewardship.reasons.clone(),
            four_eyes_above: limit.map_or(0, |limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        }))
    }

    async fn list_source_records(
        &self,
        request: Request<v1::ListSourceRecordsRequest>,
    ) -> Result<Response<v1::ListSourceRecordsResponse>, Status> {
        self.answer_list_source_records(request).await
    }

    async fn reveal_identity(
        &self,
        request: Request<v1::RevealIdentityRequest>,
    ) -> Result<Response<v1::RevealIdentityResponse>, Status> {
        self.answer_reveal_identity(request).await
    }

    async fn list_labels(
        &self,
        request: Request<v1::ListLabelsRequest>,
    ) -> Result<Response<v1::ListLabelsResponse>, Status> {
        self.answer_list_labels(request).await
    }

    async fn draw_sample(
        &self,
        request: Request<v1::DrawSampleRequest>,
    ) -> Result<Response<v1::DrawSampleResponse>, Status> {
        self.answer_draw_sample(request).await
    }

    async fn get_sampled_pair(
        &self,
        request: Request<v1::GetSampledPairRequest>,
    ) -> Result<Response<v1::GetSampledPairResponse>, Status> {
        self.answer_get_sampled_pair(request).await
    }

    async fn judge_sampled_pair(
        &self,
        request: Request<v1::JudgeSampledPairRequest>,
    ) -> Result<Response<v1::JudgeSampledPairResponse>, Status> {
        self.answer_judge_sampled_pair(request).await
    }

    async fn get_quality(
        &self,
        request: Request<v1::GetQualityRequest>,
    ) -> Result<Response<v1::GetQualityResponse>, Status> {
        self.answer_get_quality(request).await
    }

    async fn list_overrides(
        &self,
        request: Request<v1::ListOverridesRequest>,
    ) -> Result<Response<v1::ListOverridesResponse>, Status> {
        let caller = self.caller(&request, Right::Read)?;
        let request = request.into_inner();
        let size = page::size(request.page_size, 100, 100)?;
        let after = page::number(&request.page_token)?.unwrap_or_default();
        let overrides = self
            .ask("ListOverrides", move |engine| {
                let only_awaited = request.awaiting_approval;
                engine.list_overrides(&caller.tenant, after, size, only_awaited)
            })
            .await?;
        let next = overrides
            .last()
            .filter(|_| overrides.len() == size)
            .map(|(value, _)| page::token(&value.number.to_be_bytes()));
        let overrides = overrides
            .iter()
            .map(|(value, state)| convert::steward_override(value, Some(*state)))
            .collect();
        Ok(Response::new(v1::ListOverridesResponse {
            overrides,
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn list_audit_entries(
        &self,
        request: Request<v1::ListAuditEntriesRequest>,
    ) -> Result<Response<v1::ListAuditEntriesResponse>, Status> {
        let caller = self.caller(&request, Right::Operate)?;
        let request = request.into_inner();
        let size = page::size(request.page_size, 100, 1_000)?;
        let after = page::number(&request.page_token)?.unwrap_or_default();
        let response = self.ask("ListAuditEntries", move |engine| {
            let entries = engine.store().audit_entries(&caller.tenant, after, size)?;
            let last = entries.last().filter(|_| entries.len() == size);
            let next = last.map(|last| page::token(&last.number.to_be_bytes()));
            Ok(v1::ListAuditEntriesResponse {
                next_page_token: next.unwrap_or_default(),
                audit_entries: entries.into_iter().map(convert::audit_entry).collect(),
            })
        });
        Ok(Response::new(response.await?))
    }
}

impl Api {
    fn task_filter(
        &self,
        tenant: &Tenant,
        request: &v1::ListReviewTasksRequest,
    ) -> Result<TaskFilter, Status> {
        let mut filter = task_filter(request)?;
        if !request.brands.is_empty() {
            let known = self.intake.registry().sources(tenant);
            let of_brand = known.filter(|source| {
                let brand = source.brand.as_ref();
                brand.is_some_and(|brand| request.brands.contains(brand))
            });
            let of_brand: Vec<String> = of_brand.map(|source| source.name.clone()).collect();
            if of_brand.is_empty() {
                return Err(status::invalid("brands", "no source serves any of them"));
            }
            match filter.sources.is_empty() {
                true => filter.sources = of_brand,
                false => filter.sources.retain(|source| of_brand.contains(source)),
            }
            if filter.sources.is_empty() {
                return Err(status::invalid(
                    "sources",
                    "none of them serves one of the brands",
                ));
            }
        }
        Ok(filter)
    }
}

fn task_filter(request: &v1::ListReviewTasksRequest) -> Result<TaskFilter, Status> {
    let reason = match v1::ReviewReason::try_from(request.reason) {
        Ok(v1::ReviewReason::Unspecified) => None,
        Ok(v1::ReviewReason::Uncertain) => Some(ReviewReason::Uncertain),
        Ok(v1::ReviewReason::Conflict) => Some(ReviewReason::Conflict),
        Err(_) => return Err(status::invalid("reason", "is none that is known")),
    };
    for (field, names) in [("sources", &request.sources), ("brands", &request.brands)] {
        if names.len() > MAX_SOURCES {
            return Err(status::invalid(field, "has more than 100 entries"));
        }
    }
    for (field, probability) in [
        ("min_probability", request.min_probability),
        ("max_probability", request.max_probability),
    ] {
        if !(0.0..=1.0).contains(&probability) {
            return Err(status::invalid(field, "must be 0 to 1"));
        }
    }
    Ok(TaskFilter {
        reason,
        sources: request.sources.clone(),
        min_probability: request.min_probability,
        max_probability: Some(request.max_probability).filter(|most| *most > 0.0),
        opened_before_ms: Some(request.opened_before_ms).filter(|latest| *latest != 0),
        min_records: request.min_records as usize,
    })
}
