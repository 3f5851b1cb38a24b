# Only S3 and the rule may publish, and what is sent is signed, repeated and not lost.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:111122223333:etl-object-events" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:111122223333:etl-object-events-dead" }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-west-1:111122223333:rule/etl-object-events" }
  }
}

variables {
  endpoint = "https://events.example.com/"
  buckets = {
    sales  = { prefix = "in/" }
    shared = { through_event_bridge = true }
  }
}

run "events_of_two_buckets" {
  command = apply

  assert {
    condition     = toset(keys(aws_s3_bucket_notification.this)) == toset(["sales"]) && aws_s3_bucket_notification.this["sales"].topic[0].events == toset(["s3:ObjectCreated:*"]) && aws_s3_bucket_notification.this["sales"].topic[0].filter_prefix == "in/"
    error_message = "a bucket's notification lacks its events or its prefix, or replaces a configuration that is not ours"
  }
  assert {
    condition     = alltrue([for s in jsondecode(aws_sns_topic_policy.this.policy).Statement : can(s.Condition.ArnEquals["aws:SourceArn"]) && s.Action == "sns:Publish"])
    error_message = "others than the buckets and the rule may publish to the topic"
  }
  assert {
    condition     = alltrue([for s in jsondecode(aws_sns_topic_policy.this.policy).Statement : s.Principal.Service != "s3.amazonaws.com" || try(s.Condition.StringEquals["aws:SourceAccount"], "") == "111122223333"])
    error_message = "a bucket of another account could publish to the topic"
  }
  assert {
    condition     = aws_sns_topic.this.signature_version == 2 && !aws_sns_topic_subscription.this.raw_message_delivery
    error_message = "messages are not signed with SHA256"
  }
  assert {
    condition     = jsondecode(aws_sns_topic_subscription.this.delivery_policy).healthyRetryPolicy.numRetries >= 50 && jsondecode(aws_sns_topic_subscription.this.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead.arn
    error_message = "what can not be delivered is not repeated, or lost"
  }
  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.this["objects"].event_pattern)["$or"][0].detail.bucket.name == ["shared"] && aws_cloudwatch_event_target.this["objects"].retry_policy[0].maximum_retry_attempts > 0
    error_message = "the rule takes events of other buckets, or does not repeat them"
  }
}

run "wrong_variables" {
  command = plan

  variables {
    endpoint = "http://events.example.com/"
    buckets  = {}
    name     = "E"
  }

  expect_failures = [var.endpoint, var.buckets, var.name]
}
