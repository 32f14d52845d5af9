//! `StewardshipService`.

use tonic::{Request, Response, Status};
use veridem_proto::v1;
use veridem_proto::v1::stewardship_service_server::StewardshipService;

use super::{Api, convert, observe, page, status};
use crate::clock::Stopwatch;
use crate::resolver::{DecisionRequest, EngineError, answer, validate_id};
use crate::store::{IdentityId, OverrideDecision};

const MAX_NOTE_BYTES: usize = 1_024;

#[tonic::async_trait]
impl StewardshipService for Api {
    async fn list_review_tasks(
        &self,
        request: Request<v1::ListReviewTasksRequest>,
    ) -> Result<Response<v1::ListReviewTasksResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let size = page::size(request.page_size, 100, 1_000)?;
        let after = page::place(&request.page_token)?;
        let response = self.ask("ListReviewTasks", move |engine| {
            let tasks = engine
                .store()
                .review_tasks(&caller.tenant, after.as_deref(), size)?;
            let next = tasks
                .last()
                .filter(|_| tasks.len() == size)
                .map(|(place, _)| page::token(place));
            let identity_of = |number| {
                Ok::<_, EngineError>(
                    engine
                        .store()
                        .record(&caller.tenant, number)?
                        .and_then(|record| record.identity_id)
                        .map(|id| id.to_string())
                        .unwrap_or_default(),
                )
            };
            let message = |task: &crate::store::StoredReviewTask| {
                Ok::<_, EngineError>(convert::review_task(
                    task,
                    (identity_of(task.records.0)?, identity_of(task.records.1)?),
                ))
            };
            let review_tasks = tasks
                .iter()
                .map(|(_, task)| message(task))
                .collect::<Result<_, _>>()?;
            Ok(v1::ListReviewTasksResponse {
                review_tasks,
                next_page_token: next.unwrap_or_default(),
            })
        });
        Ok(Response::new(response.await?))
    }

    async fn decide_review_task(
        &self,
        request: Request<v1::DecideReviewTaskRequest>,
    ) -> Result<Response<v1::DecideReviewTaskResponse>, Status> {
        let stopwatch = Stopwatch::start();
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        validate_id("review_task_id", &request.review_task_id).map_err(status::of)?;
        validate_id("idempotency_key", &request.idempotency_key).map_err(status::of)?;
        if request.note.len() > MAX_NOTE_BYTES {
            return Err(status::invalid("note", "has more than 1,024 bytes"));
        }
        let decision = match v1::StewardDecision::try_from(request.decision) {
            Ok(v1::StewardDecision::SamePerson) => OverrideDecision::SamePerson,
            Ok(v1::StewardDecision::DifferentPersons) => OverrideDecision::DifferentPersons,
            _ => {
                return Err(status::invalid(
                    "decision",
                    "must be same person or different persons",
                ));
            }
        };
        let (tenant, task_id, key) = (
            caller.tenant.clone(),
            request.review_task_id,
            request.idempotency_key.clone(),
        );
        let records =
            self.ask("DecideReviewTask", move |engine| {
                // A repeated call finds its task closed: the first answer tells the records.
                if let Some(decided) = engine.store().decision(&tenant, &key)? {
                    return Ok((decided.value.left, decided.value.right));
                }
                let task = engine.store().review_task(&tenant, &task_id)?.ok_or(
                    EngineError::NotFound {
                        what: "review_task_id",
                    },
                )?;
                Ok((task.left, task.right))
            });
        let decision = DecisionRequest {
            records: records.await?,
            decision,
            principal: caller.principal,
            note: request.note,
            idempotency_key: request.idempotency_key,
        };
        let result = async { answer(self.ingest.try_decide(caller.tenant, decision)?).await }
            .await
            .map_err(status::of);
        observe("DecideReviewTask", stopwatch, result.as_ref().err());
        let decided = result?;
        let id = |id: Option<IdentityId>| id.map(|id| id.to_string()).unwrap_or_default();
        Ok(Response::new(v1::DecideReviewTaskResponse {
            r#override: Some(convert::steward_override(&decided.value)),
            left_identity_id: id(decided.identities.0),
            right_identity_id: id(decided.identities.1),
            sequence: decided.sequence,
        }))
    }

    async fn list_overrides(
        &self,
        request: Request<v1::ListOverridesRequest>,
    ) -> Result<Response<v1::ListOverridesResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let size = page::size(request.page_size, 100, 1_000)?;
        let after = page::place(&request.page_token)?;
        let overrides = self
            .ask("ListOverrides", move |engine| {
                Ok(engine
                    .store()
                    .overrides(&caller.tenant, after.as_deref(), size)?)
            })
            .await?;
        let next = overrides
            .last()
            .filter(|_| overrides.len() == size)
            .map(|(place, _)| page::token(place));
        let overrides = overrides
            .iter()
            .map(|(_, value)| convert::steward_override(value))
            .collect();
        Ok(Response::new(v1::ListOverridesResponse {
            overrides,
            next_page_token: next.unwrap_or_default(),
        }))
    }
}
