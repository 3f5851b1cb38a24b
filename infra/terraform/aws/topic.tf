# One topic. SNS signs what it sends, and the receiver takes messages of this topic only.

data "aws_caller_identity" "this" {}

resource "aws_sns_topic" "this" {
  name = "${var.name}-object-events"
  tags = var.tags
  # 2: SHA256 instead of SHA1.
  signature_version = 2
}

resource "aws_sns_topic_policy" "this" {
  arn = aws_sns_topic.this.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for bucket in keys(local.direct) : {
        Sid       = "S3${substr(sha256(bucket), 0, 16)}"
        Effect    = "Allow"
        Principal = { Service = "s3.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.this.arn
        # The account too: a bucket's name can be taken by somebody else once it is deleted.
        Condition = {
          ArnEquals    = { "aws:SourceArn" = "arn:aws:s3:::${bucket}" }
          StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.this.account_id }
        }
      }],
      [for rule in values(aws_cloudwatch_event_rule.this) : {
        Sid       = "EventBridge"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.this.arn
        Condition = { ArnEquals = { "aws:SourceArn" = rule.arn } }
      }],
    )
  })
}

# What could not be delivered for the three hours that the policy below repeats it.
resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-object-events-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = var.tags
}

resource "aws_sqs_queue_policy" "dead" {
  queue_url = aws_sqs_queue.dead.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.dead.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_sns_topic.this.arn } }
    }]
  })
}

resource "aws_sns_topic_subscription" "this" {
  topic_arn = aws_sns_topic.this.arn
  protocol  = "https"
  endpoint  = var.endpoint
  # The receiver confirms a subscription of a topic that it knows (variable external_events there).
  endpoint_auto_confirms = true
  # Raw messages carry no signature.
  raw_message_delivery = false

  delivery_policy = jsonencode({
    healthyRetryPolicy = {
      numRetries         = 50
      numNoDelayRetries  = 0
      minDelayTarget     = 10
      maxDelayTarget     = 300
      numMinDelayRetries = 5
      numMaxDelayRetries = 35
      backoffFunction    = "exponential"
    }
    throttlePolicy = { maxReceivesPerSecond = 50 }
  })

  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn })

  depends_on = [aws_sqs_queue_policy.dead]
}
