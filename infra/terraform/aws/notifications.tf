locals {
  direct  = { for bucket, what in var.buckets : bucket => what if !what.through_event_bridge }
  bridged = { for bucket, what in var.buckets : bucket => what if what.through_event_bridge }
}

resource "aws_s3_bucket_notification" "this" {
  for_each = local.direct

  bucket = each.key

  topic {
    topic_arn     = aws_sns_topic.this.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = each.value.prefix
  }

  # S3 sends a test message at once, and refuses the configuration where that is not allowed.
  depends_on = [aws_sns_topic_policy.this]
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = length(local.bridged) == 0 ? {} : { objects = local.bridged }

  name        = "${var.name}-object-events"
  description = "Objects that were created in buckets that ETL Runner reads"
  tags        = var.tags

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    "$or" = [for bucket, what in each.value : {
      detail = {
        bucket = { name = [bucket] }
        object = { key = [{ prefix = what.prefix }] }
      }
    }]
  })
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = aws_cloudwatch_event_rule.this

  rule = each.value.name
  arn  = aws_sns_topic.this.arn

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
}
